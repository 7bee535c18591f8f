"""Prepare the file parts of a chat body for the candidates that may answer it.

A part is OpenAI's `{"type": "file", "file": {"file_id"}}` or `{"file": {"file_data", "filename"}}`
(a data URL, or bare base64), or has a `file_url`, whose file is fetched. The prepared part has the
filename, `file_data` if a candidate takes files, the text of the file under `text` if a candidate
does not, and the id of a stored file under `file_id`. `providers/filters/file_parts.py` makes the
upstream's form of it.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from django.conf import settings

from conversations.files import file_storage
from conversations.files.fetched_files import FetchedFile, fetch_files
from conversations.files.file_forms import (
    AttachedFile,
    WantedForms,
    decode_inline_file,
    make_attached_file,
    read_stored_file,
)
from conversations.models import StoredFile
from providers.catalogue import Candidate
from providers.database.database_threads import await_in_time, run_in_thread
from providers.database.keyed_locks import KeyedLocks
from providers.exceptions import InternalError, InvalidRequest, Saturated
from providers.filters.file_parts import (
    FILE_ID_FIELD,
    TEXT_FIELD,
    copy_file_messages,
    find_file_parts,
    read_file_fields,
)
from providers.network.api_client import ApiClient
from providers.protocol.json_types import JsonObject

MOST_PARTS = 20
FILE_URL_FIELD = "file_url"
SOURCE_FIELDS = (FILE_ID_FIELD, "file_data", FILE_URL_FIELD)  # a file has one of them
FilePart = tuple[str, JsonObject]  # its place in the body, and the part

# a user's requests read documents one at a time, so that one user cannot take all readers
request_read_locks = KeyedLocks(asyncio.Lock)  # by user id


async def attach_files(
    messages: Sequence[JsonObject],
    user_id: int | None,
    candidates: Sequence[Candidate],
    client: ApiClient,
) -> tuple[list[JsonObject], list[Candidate]]:
    """Return the messages with the files in their parts, and the candidates that can answer.

    `client` fetches files at URLs. Raises InvalidRequest with `param`, DatabaseUnavailable,
    Saturated.
    """
    if user_id is None:  # a caller with an upstream token and no API key has no files
        raise InvalidRequest(
            "Files need an API key.", param="messages", code="unsupported_parameter"
        )
    filled_messages = copy_file_messages(messages)
    parts = list_file_parts(filled_messages)
    file_takers = [candidate for candidate in candidates if candidate.model.files]
    wanted = WantedForms(
        wants_file_data=bool(file_takers),
        wants_file_text=len(file_takers) < len(candidates),
        whole_types=find_whole_types(file_takers),
    )
    attached_files = await load_attached_files(parts, user_id, wanted, client)
    if is_too_large(
        file.size_bytes for file in attached_files if wanted.wants_file_data or file.is_image
    ):
        message = f"The files of a request have at most {settings.FILE_LIMIT_BYTES} bytes together."
        raise InvalidRequest(message, param="messages", code="files_too_large")
    for (_, part), file in zip(parts, attached_files, strict=True):
        if file.is_image and wanted.wants_file_text:
            replace_by_image(part, file)
        else:
            fill_part(part, file, with_data=wanted.wants_file_data)
    refusal = None
    if wanted.wants_file_text:
        refusal = find_text_refusal(parts, attached_files, find_most_text_chars(candidates))
    if refusal is None:
        return filled_messages, list(candidates)
    if not file_takers:
        raise refusal
    return filled_messages, file_takers


def find_whole_types(file_takers: Sequence[Candidate]) -> frozenset[str] | None:
    """Return the content types that all these candidates take whole; None when they are all."""
    types = [candidate.adapter.whole_file_types for candidate in file_takers]
    known_types = [some for some in types if some is not None]
    return frozenset.intersection(*known_types) if known_types else None


def list_file_parts(messages: Sequence[JsonObject]) -> list[FilePart]:
    """Return the file parts of messages. Raises InvalidRequest when there are too many."""
    parts = list(find_file_parts(messages))
    if len(parts) > MOST_PARTS:
        raise InvalidRequest(f"A request has at most {MOST_PARTS} files.", param="messages")
    return parts


def is_too_large(sizes_bytes: Iterable[int]) -> bool:
    """Return whether files of these sizes are too large for one request."""
    return sum(sizes_bytes) > settings.FILE_LIMIT_BYTES


def replace_by_image(part: JsonObject, file: AttachedFile) -> None:
    """Make the part of an image, in place, one that every upstream with vision takes."""
    image = {"url": file.data_url}
    detail = read_file_fields(part).get("detail")
    if isinstance(detail, str):
        image["detail"] = detail
    part.clear()
    part |= {"type": "image_url", "image_url": image}


def fill_part(part: JsonObject, file: AttachedFile, *, with_data: bool) -> None:
    """Put a file's forms into its part, in place."""
    part["file"] = {"filename": file.filename}
    if with_data:
        part["file"]["file_data"] = file.data_url
    part[TEXT_FIELD] = file.text
    part.pop(FILE_ID_FIELD, None)
    part.pop(FILE_URL_FIELD, None)
    if file.file_id:
        part[FILE_ID_FIELD] = file.file_id


def find_most_text_chars(candidates: Sequence[Candidate]) -> int:
    """Return how many characters the texts of a request's files may have together.

    They may have many where the windows of all candidates that get texts are known, because long
    texts are then shortened to fit (`conversations/prompts/fit_prompt.py`).
    """
    text_takers = [candidate for candidate in candidates if not candidate.model.files]
    if all(candidate.context_window for candidate in text_takers):
        return settings.FILE_TEXT_CHARS
    return settings.UNFITTED_TEXT_CHARS


def find_text_refusal(
    parts: list[FilePart], attached_files: list[AttachedFile], most_chars: int
) -> InvalidRequest | None:
    """Return why the texts of these files cannot go into the prompt, or None.

    Together they may have `most_chars` characters.
    """
    for (place, _), file in zip(parts, attached_files, strict=True):
        if file.problem:
            message = f"The file {file.filename!r} cannot be read: {file.problem}"
            return InvalidRequest(message, param=f"{place}.file", code="unreadable_file")
    total = sum(len(file.text) for file in attached_files)
    if total <= most_chars:
        return None
    message = f"The files have {total} characters of text; at most {most_chars} go into a request."
    return InvalidRequest(message, param="messages", code="files_too_large")


async def load_attached_files(
    parts: list[FilePart], user_id: int, wanted: WantedForms, client: ApiClient
) -> list[AttachedFile]:
    """Return the file of each part, in their order.

    Raises InvalidRequest, InternalError, DatabaseUnavailable, Saturated.
    """
    file_id_by_place: dict[str, str] = {}
    inline_files: dict[str, JsonObject] = {}
    for place, part in parts:
        fields = read_file_fields(part)
        if file_id := read_file_id(place, fields):
            file_id_by_place[place] = file_id
        else:
            inline_files[place] = fields
    file_by_place: dict[str, AttachedFile] = {}
    if file_id_by_place:
        file_by_id = await await_in_time(
            run_in_thread(load_own_files, file_id_by_place, user_id, wanted)
        )
        file_by_place |= {place: file_by_id[file_id] for place, file_id in file_id_by_place.items()}
    if inline_files:
        file_by_place |= await decode_in_turn(inline_files, user_id, wanted, client)
    return [file_by_place[place] for place, _ in parts]


async def decode_in_turn(
    inline_files: dict[str, JsonObject], user_id: int, wanted: WantedForms, client: ApiClient
) -> dict[str, AttachedFile]:
    """Fetch files at URLs, and run `decode_inline_files` in a reader's thread.

    For each user this happens once at a time, which also bounds the memory of fetched files. Raises
    InvalidRequest, Saturated.
    """
    urls = {
        place: fields[FILE_URL_FIELD]
        for place, fields in inline_files.items()
        if FILE_URL_FIELD in fields
    }
    patience_seconds = 2 * settings.FILE_TEXT_SECONDS + (settings.FILE_URL_SECONDS if urls else 0)
    deadline = time.monotonic() + patience_seconds
    try:
        async with asyncio.timeout(patience_seconds), request_read_locks.get_lock(user_id):
            fetched_files = await fetch_files(client, urls) if urls else {}
            return await asyncio.get_running_loop().run_in_executor(
                file_storage.reader_threads,
                decode_inline_files,
                inline_files | fetched_files,
                wanted,
                deadline,
            )
    except TimeoutError:
        raise Saturated("Too many documents are being read.", retry_after_seconds=5) from None


def read_file_id(place: str, file_fields: JsonObject) -> str:
    """Return the file's id, or an empty string for a file inside the request or at a URL.

    Raises InvalidRequest.
    """
    sources = {
        name: file_fields[name] for name in SOURCE_FIELDS if file_fields.get(name) is not None
    }
    if len(sources) == 1:
        name, value = sources.popitem()
        if isinstance(value, str) and value:
            return value if name == FILE_ID_FIELD else ""
    is_missing = not sources and all(file_fields.get(name) is None for name in SOURCE_FIELDS)
    raise InvalidRequest(
        "A file is given by file_id, by file_data with its filename, or by file_url.",
        param=f"{place}.file",
        code="missing_required_parameter" if is_missing else None,
    )


def load_own_files(
    file_id_by_place: dict[str, str], user_id: int, wanted: WantedForms
) -> dict[str, AttachedFile]:
    """Return a user's stored files by id. For a database thread.

    Raises InvalidRequest, InternalError.
    """
    valid_ids = filter(file_storage.FILE_ID_PATTERN.fullmatch, set(file_id_by_place.values()))
    row_by_id = StoredFile.objects.of_user(user_id).in_bulk(list(valid_ids))
    for place, file_id in file_id_by_place.items():
        if file_id not in row_by_id:
            message = f"There is no file {file_id[:48]!r}."
            param = f"{place}.file.file_id"
            raise InvalidRequest(message, param=param, code="file_not_found")
    sizes = [row_by_id[file_id].size_bytes for file_id in file_id_by_place.values()]
    if wanted.wants_file_data and is_too_large(sizes):
        # `attach_files` refuses the request, so the data is not needed
        wanted = replace(wanted, wants_file_data=False)
    try:
        return {file_id: read_stored_file(row, wanted) for file_id, row in row_by_id.items()}
    except FileNotFoundError:
        raise InternalError("The bytes of this file are not here.") from None


def decode_inline_files(
    inline_files: dict[str, JsonObject | FetchedFile], wanted: WantedForms, deadline: float
) -> dict[str, AttachedFile]:
    """Return the files that are not stored, by place. For a reader's thread.

    `deadline` is a time of the monotonic clock. Raises InvalidRequest, TimeoutError.
    """
    file_by_place = {}
    for place, file in inline_files.items():
        if time.monotonic() > deadline:
            raise TimeoutError
        if isinstance(file, FetchedFile):
            file_by_place[place] = make_attached_file(file, wanted)
        else:
            file_by_place[place] = decode_inline_file(place, file, wanted)
    return file_by_place
