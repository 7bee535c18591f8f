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
from providers.database.database_threads import in_time, off_loop
from providers.database.keyed_locks import KeyedLocks
from providers.exceptions import InternalError, InvalidRequest, Saturated
from providers.filters.file_parts import FILE_ID, TEXT, file_parts

MOST_PARTS = 20
MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
ENDINGS = {
    "application/pdf": "document.pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "document.docx",
    "text/html": "document.html",
}


@dataclass(frozen=True, slots=True)
class Document:
    """One file of a request; `problem` says why there is no text."""

    filename: str
    data_url: str = ""
    text: str = ""
    problem: str = ""
    size_bytes: int = 0
    file_id: str = ""  # of a stored file


# a user's requests read documents one at a time, so that one user cannot take all readers
request_locks = KeyedLocks(asyncio.Lock)  # by user id


@dataclass(frozen=True, slots=True)
class Wanted:
    """The forms of a file that the candidates need."""

    data: bool
    text: bool


async def attach(
    body: dict[str, Any], user_id: int | None, candidates: Sequence[Candidate]
) -> list[Candidate]:
    """Put the files into the body's parts, in place; return the candidates that can answer.

    Raises InvalidRequest with `param`, DatabaseUnavailable, Saturated.
    """
    if user_id is None:  # a caller with an upstream token and no API key has no files
        raise InvalidRequest(
            "Files need an API key.", param="messages", code="unsupported_parameter"
        )
    parts = list(file_parts(body["messages"]))
    if len(parts) > MOST_PARTS:
        raise InvalidRequest(f"A request has at most {MOST_PARTS} files.", param="messages")
    takers = [candidate for candidate in candidates if candidate.model.files]
    wanted = Wanted(data=bool(takers), text=len(takers) < len(candidates))
    documents = await gathered(parts, user_id, wanted)
    if (
        wanted.data
        and sum(document.size_bytes for document in documents) > settings.FILE_LIMIT_BYTES
    ):
        problem = f"The files of a request have at most {settings.FILE_LIMIT_BYTES} bytes together."
        raise InvalidRequest(problem, param="messages", code="files_too_large")
    for (_, part), document in zip(parts, documents, strict=True):
        given = {"filename": document.filename} | (
            {"file_data": document.data_url} if wanted.data else {}
        )
        part["file"], part[TEXT] = given, document.text
        part.pop(FILE_ID, None)
        if document.file_id:
            part[FILE_ID] = document.file_id
    fitted = all(candidate.context_window for candidate in candidates if not candidate.model.files)
    most = settings.FILE_TEXT_CHARS if fitted else settings.UNFITTED_TEXT_CHARS
    refused = trouble(parts, documents, most) if wanted.text else None
    if refused is None:
        return list(candidates)
    if not takers:
        raise refused
    return takers


def trouble(
    parts: list[tuple[str, dict[str, Any]]], documents: list[Document], most: int
) -> InvalidRequest | None:
    """Return why the texts of these files cannot go into the prompt, or None.

    Together they may have `most` characters. The number is large where the window is known, because
    long texts are then shortened to fit (`conversations/prompts/fit_prompt.py`).
    """
    for (place, _), document in zip(parts, documents, strict=True):
        if document.problem:
            why = f"The file {document.filename!r} cannot be read: {document.problem}"
            return InvalidRequest(why, param=f"{place}.file", code="unreadable_file")
    total = sum(len(document.text) for document in documents)
    if total <= most:
        return None
    why = f"The files have {total} characters of text together; at most {most} go into a request."
    return InvalidRequest(why, param="messages", code="files_too_large")


async def gathered(
    parts: list[tuple[str, dict[str, Any]]], user_id: int | None, wanted: Wanted
) -> list[Document]:
    """Return the document of each part, in their order.

    Raises InvalidRequest, InternalError, DatabaseUnavailable, Saturated.
    """
    named = {place: file_id for place, part in parts if (file_id := id_in(place, part["file"]))}
    found: dict[str, Document] = {}
    if named:
        by_id = await in_time(off_loop(stored, named, user_id, wanted))
        found |= {place: by_id[file_id] for place, file_id in named.items()}
    if inline := {place: part["file"] for place, part in parts if place not in found}:
        patience = 2 * settings.FILE_TEXT_SECONDS
        try:
            async with asyncio.timeout(patience), request_locks.get_lock(user_id or 0):
                until = time.monotonic() + patience
                loop = asyncio.get_running_loop()
                found |= await loop.run_in_executor(
                    file_storage.readers, unpacked, inline, wanted, until
                )
        except TimeoutError:
            raise Saturated("Too many documents are being read.", retry_after_seconds=5) from None
    return [found[place] for place, _ in parts]


def id_in(place: str, given: dict[str, Any]) -> str:
    """Return the file's id, or an empty string for a file inside the request.

    Raises InvalidRequest.
    """
    file_id = given.get("file_id")
    data = given.get("file_data")
    if isinstance(file_id, str) and file_id and data is None:
        return file_id
    if isinstance(data, str) and data and file_id is None:
        return ""
    raise InvalidRequest(
        "A file is given by file_id, or by file_data with its filename.",
        param=f"{place}.file",
        code="missing_required_parameter" if file_id is None and data is None else None,
    )


def stored(named: dict[str, str], user_id: int | None, wanted: Wanted) -> dict[str, Document]:
    """Return the documents of stored files by id. For a database thread.

    Raises InvalidRequest, InternalError.
    """
    ids = set(named.values())
    own = StoredFile.objects.none() if user_id is None else StoredFile.objects.of(user_id)
    mine = {row.pk: row for row in own.filter(pk__in=filter(file_storage.ID.fullmatch, ids))}
    for place, file_id in named.items():
        if file_id not in mine:
            param = f"{place}.file.file_id"
            raise InvalidRequest(
                f"There is no file {file_id[:48]!r}.", param=param, code="file_not_found"
            )
    if (
        wanted.data
        and sum(mine[file_id].size_bytes for file_id in named.values()) > settings.FILE_LIMIT_BYTES
    ):
        # `attach` refuses the request, so the data is not needed
        wanted = Wanted(data=False, text=wanted.text)
    try:
        return {file_id: kept(row, wanted) for file_id, row in mine.items()}
    except FileNotFoundError:
        raise InternalError("The bytes of this file are not here.") from None


def kept(row: StoredFile, wanted: Wanted) -> Document:
    """Return a stored file's document. Raises FileNotFoundError."""
    url = ""
    text = ""
    problem = row.reason
    if wanted.data:
        with file_storage.opened(row) as file:
            url = data_url(row.content_type, file.read())
    if wanted.text and not problem:
        if extract.kind(row.filename, row.content_type) in extract.IMAGES:
            problem = "It is an image: it has no text."
        else:
            text = file_storage.text_path_of(row.pk).read_text(encoding="utf-8")
    return Document(row.filename, url, text, problem, row.size_bytes, row.pk)


def unpacked(
    inline: dict[str, dict[str, Any]], wanted: Wanted, until: float
) -> dict[str, Document]:
    """Return the documents that came with the request, by place. For a reader's thread.

    Raises InvalidRequest, TimeoutError.
    """
    found = {}
    for place, given in inline.items():
        if time.monotonic() > until:
            raise TimeoutError
        found[place] = unpack(place, given, wanted)
    return found


def unpack(place: str, given: dict[str, Any], wanted: Wanted) -> Document:
    head, comma, encoded = given["file_data"].partition(",")
    if not comma:
        head, encoded = "", head
    declared = head.removeprefix("data:").partition(";")[0]
    try:
        data = b64decode(encoded, validate=True)
    except ValueError:
        problem = "file_data must be base64, or a data URL with base64."
        raise InvalidRequest(problem, param=f"{place}.file.file_data") from None
    name = given.get("filename")
    filename = file_storage.line(name, 255) if isinstance(name, str) else ""
    filename = (
        filename
        or ENDINGS.get(declared)
        or ("document.pdf" if data.startswith(b"%PDF-") else "document.txt")
    )
    text = ""
    problem = ""
    if wanted.text:
        try:
            text = extract.text_of(filename, declared, data)
        except extract.Unreadable as error:
            problem = str(error)
    return Document(
        filename, data_url(declared, data) if wanted.data else "", text, problem, len(data)
    )


def data_url(content_type: str, data: bytes) -> str:
    declared = found[0] if (found := MEDIA_TYPE.match(content_type)) else "application/octet-stream"
    return f"data:{declared};base64,{b64encode(data).decode()}"
