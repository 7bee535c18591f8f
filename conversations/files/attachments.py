"""Prepare the file parts of a chat body for the candidates that may answer it.

A part is OpenAI's `{"type": "file", "file": {"file_id"}}` or `{"file": {"file_data", "filename"}}`
(a data URL, or bare base64). The prepared part has the filename, `file_data` if a candidate takes
files, the text of the file under `text` if a candidate does not, and the id of a stored file under
`file_id`. `providers/filters/file_parts.py` makes the upstream's form of it.
"""

import asyncio
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from conversations.files import file_storage
from conversations.models import StoredFile
from conversations.text import extract
from providers.catalogue import Candidate
from providers.database.database_threads import await_in_time, run_in_thread
from providers.database.keyed_locks import KeyedLocks
from providers.exceptions import InternalError, InvalidRequest, Saturated
from providers.filters.file_parts import FILE_ID_FIELD, TEXT_FIELD, find_file_parts

MOST_PARTS = 20
MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
DEFAULT_FILENAMES = {
    "application/pdf": "document.pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "document.docx",
    "text/html": "document.html",
}


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """One file of a request; `problem` says why there is no text."""

    filename: str
    data_url: str = ""
    text: str = ""
    problem: str = ""
    size_bytes: int = 0
    file_id: str = ""  # of a stored file


# a user's requests read documents one at a time, so that one user cannot take all readers
request_read_locks = KeyedLocks(asyncio.Lock)  # by user id


@dataclass(frozen=True, slots=True)
class WantedForms:
    """The forms of a file that the candidates need."""

    wants_file_data: bool
    wants_file_text: bool


async def attach_files(
    body: dict[str, Any], user_id: int | None, candidates: Sequence[Candidate]
) -> list[Candidate]:
    """Put the files into the body's parts, in place; return the candidates that can answer.

    Raises InvalidRequest with `param`, DatabaseUnavailable, Saturated.
    """
    if user_id is None:  # a caller with an upstream token and no API key has no files
        raise InvalidRequest(
            "Files need an API key.", param="messages", code="unsupported_parameter"
        )
    parts = list(find_file_parts(body["messages"]))
    if len(parts) > MOST_PARTS:
        raise InvalidRequest(f"A request has at most {MOST_PARTS} files.", param="messages")
    takers = [candidate for candidate in candidates if candidate.model.files]
    wanted = WantedForms(
        wants_file_data=bool(takers), wants_file_text=len(takers) < len(candidates)
    )
    documents = await load_attached_files(parts, user_id, wanted)
    if (
        wanted.wants_file_data
        and sum(document.size_bytes for document in documents) > settings.FILE_LIMIT_BYTES
    ):
        problem = f"The files of a request have at most {settings.FILE_LIMIT_BYTES} bytes together."
        raise InvalidRequest(problem, param="messages", code="files_too_large")
    for (_, part), document in zip(parts, documents, strict=True):
        given = {"filename": document.filename} | (
            {"file_data": document.data_url} if wanted.wants_file_data else {}
        )
        part["file"], part[TEXT_FIELD] = given, document.text
        part.pop(FILE_ID_FIELD, None)
        if document.file_id:
            part[FILE_ID_FIELD] = document.file_id
    fitted = all(candidate.context_window for candidate in candidates if not candidate.model.files)
    most = settings.FILE_TEXT_CHARS if fitted else settings.UNFITTED_TEXT_CHARS
    refused = find_text_refusal(parts, documents, most) if wanted.wants_file_text else None
    if refused is None:
        return list(candidates)
    if not takers:
        raise refused
    return takers


def find_text_refusal(
    parts: list[tuple[str, dict[str, Any]]], attached_files: list[AttachedFile], most_chars: int
) -> InvalidRequest | None:
    """Return why the texts of these files cannot go into the prompt, or None.

    Together they may have `most_chars` characters. The number is large where the window is known,
    because long texts are then shortened to fit (`conversations/prompts/fit_prompt.py`).
    """
    for (place, _), document in zip(parts, attached_files, strict=True):
        if document.problem:
            why = f"The file {document.filename!r} cannot be read: {document.problem}"
            return InvalidRequest(why, param=f"{place}.file", code="unreadable_file")
    total = sum(len(document.text) for document in attached_files)
    if total <= most_chars:
        return None
    why = f"The files have {total} characters of text; at most {most_chars} go into a request."
    return InvalidRequest(why, param="messages", code="files_too_large")


async def load_attached_files(
    parts: list[tuple[str, dict[str, Any]]], user_id: int | None, wanted: WantedForms
) -> list[AttachedFile]:
    """Return the document of each part, in their order.

    Raises InvalidRequest, InternalError, DatabaseUnavailable, Saturated.
    """
    named = {
        place: file_id for place, part in parts if (file_id := read_file_id(place, part["file"]))
    }
    found: dict[str, AttachedFile] = {}
    if named:
        by_id = await await_in_time(run_in_thread(load_own_files, named, user_id, wanted))
        found |= {place: by_id[file_id] for place, file_id in named.items()}
    if inline := {place: part["file"] for place, part in parts if place not in found}:
        patience = 2 * settings.FILE_TEXT_SECONDS
        try:
            async with asyncio.timeout(patience), request_read_locks.get_lock(user_id or 0):
                until = time.monotonic() + patience
                loop = asyncio.get_running_loop()
                found |= await loop.run_in_executor(
                    file_storage.reader_threads, decode_inline_files, inline, wanted, until
                )
        except TimeoutError:
            raise Saturated("Too many documents are being read.", retry_after_seconds=5) from None
    return [found[place] for place, _ in parts]


def read_file_id(place: str, file_fields: dict[str, Any]) -> str:
    """Return the file's id, or an empty string for a file inside the request.

    Raises InvalidRequest.
    """
    file_id = file_fields.get("file_id")
    data = file_fields.get("file_data")
    if isinstance(file_id, str) and file_id and data is None:
        return file_id
    if isinstance(data, str) and data and file_id is None:
        return ""
    raise InvalidRequest(
        "A file is given by file_id, or by file_data with its filename.",
        param=f"{place}.file",
        code="missing_required_parameter" if file_id is None and data is None else None,
    )


def load_own_files(
    file_id_by_place: dict[str, str], user_id: int | None, wanted: WantedForms
) -> dict[str, AttachedFile]:
    """Return the documents of stored files by id. For a database thread.

    Raises InvalidRequest, InternalError.
    """
    ids = set(file_id_by_place.values())
    own = StoredFile.objects.none() if user_id is None else StoredFile.objects.of_user(user_id)
    mine = {
        row.pk: row
        for row in own.filter(pk__in=filter(file_storage.FILE_ID_PATTERN.fullmatch, ids))
    }
    for place, file_id in file_id_by_place.items():
        if file_id not in mine:
            param = f"{place}.file.file_id"
            raise InvalidRequest(
                f"There is no file {file_id[:48]!r}.", param=param, code="file_not_found"
            )
    if (
        wanted.wants_file_data
        and sum(mine[file_id].size_bytes for file_id in file_id_by_place.values())
        > settings.FILE_LIMIT_BYTES
    ):
        # `attach` refuses the request, so the data is not needed
        wanted = WantedForms(wants_file_data=False, wants_file_text=wanted.wants_file_text)
    try:
        return {file_id: read_stored_file(row, wanted) for file_id, row in mine.items()}
    except FileNotFoundError:
        raise InternalError("The bytes of this file are not here.") from None


def read_stored_file(row: StoredFile, wanted: WantedForms) -> AttachedFile:
    """Return a stored file's document. Raises FileNotFoundError."""
    url = ""
    text = ""
    problem = row.reason
    if wanted.wants_file_data:
        with file_storage.open_stored_file(row) as file:
            url = encode_data_url(row.content_type, file.read())
    if wanted.wants_file_text and not problem:
        if extract.detect_file_type(row.filename, row.content_type) in extract.IMAGE_TYPES:
            problem = "It is an image: it has no text."
        else:
            text = file_storage.text_path_of(row.pk).read_text(encoding="utf-8")
    return AttachedFile(row.filename, url, text, problem, row.size_bytes, row.pk)


def decode_inline_files(
    inline_files: dict[str, dict[str, Any]], wanted: WantedForms, deadline: float
) -> dict[str, AttachedFile]:
    """Return the documents that came with the request, by place. For a reader's thread.

    Raises InvalidRequest, TimeoutError.
    """
    found = {}
    for place, given in inline_files.items():
        if time.monotonic() > deadline:
            raise TimeoutError
        found[place] = decode_inline_file(place, given, wanted)
    return found


def decode_inline_file(
    place: str, file_fields: dict[str, Any], wanted: WantedForms
) -> AttachedFile:
    head, comma, encoded = file_fields["file_data"].partition(",")
    if not comma:
        head, encoded = "", head
    declared = head.removeprefix("data:").partition(";")[0]
    try:
        data = b64decode(encoded, validate=True)
    except ValueError:
        problem = "file_data must be base64, or a data URL with base64."
        raise InvalidRequest(problem, param=f"{place}.file.file_data") from None
    name = file_fields.get("filename")
    filename = file_storage.sanitize_line(name, 255) if isinstance(name, str) else ""
    filename = (
        filename
        or DEFAULT_FILENAMES.get(declared)
        or ("document.pdf" if data.startswith(b"%PDF-") else "document.txt")
    )
    text = ""
    problem = ""
    if wanted.wants_file_text:
        try:
            text = extract.extract_document_text(filename, declared, data)
        except extract.UnreadableDocument as error:
            problem = str(error)
    return AttachedFile(
        filename,
        encode_data_url(declared, data) if wanted.wants_file_data else "",
        text,
        problem,
        len(data),
    )


def encode_data_url(content_type: str, data: bytes) -> str:
    declared = found[0] if (found := MEDIA_TYPE.match(content_type)) else "application/octet-stream"
    return f"data:{declared};base64,{b64encode(data).decode()}"
