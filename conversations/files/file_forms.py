"""The forms of one file for upstreams: a data URL, its text, or the reason why there is none."""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

from conversations.files import file_storage
from conversations.files.fetched_files import FetchedFile
from conversations.models import StoredFile
from conversations.text import extract
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
DEFAULT_FILENAMES = {
    "application/pdf": "document.pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "document.docx",
    "text/html": "document.html",
}


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """One file of a request; `problem` says why there is no text.

    `is_image`: an upstream that takes no files gets it as an image.
    """

    filename: str
    data_url: str = ""
    text: str = ""
    problem: str = ""
    size_bytes: int = 0
    file_id: str = ""  # of a stored file
    is_image: bool = False


@dataclass(frozen=True, slots=True)
class WantedForms:
    """The forms of a file that the candidates need.

    `whole_types` are the content types that every candidate that takes files takes whole: of a file
    of another type its text is needed too. None: all types.
    """

    wants_file_data: bool
    wants_file_text: bool
    whole_types: frozenset[str] | None = None

    def wants_text_of(self, content_type: str) -> bool:
        """Return whether the text of a file of this type is needed."""
        if self.wants_file_text or self.whole_types is None:
            return self.wants_file_text
        return content_type not in self.whole_types


def read_stored_file(row: StoredFile, wanted: WantedForms) -> AttachedFile:
    """Return a stored file in the wanted forms. Raises FileNotFoundError."""
    data_url = ""
    text = ""
    problem = row.reason
    is_image = is_image_file(row.filename, row.content_type)
    if wanted.wants_file_data or (is_image and wanted.wants_file_text):
        with file_storage.open_stored_file(row) as opened:
            data_url = encode_data_url(row.content_type, opened.read())
    if wanted.wants_text_of(row.content_type) and not problem and not is_image:
        text = file_storage.text_path_of(row.pk).read_text(encoding="utf-8")
    return AttachedFile(row.filename, data_url, text, problem, row.size_bytes, row.pk, is_image)


def is_image_file(filename: str, content_type: str) -> bool:
    """Return whether a file is an image by its name or type."""
    return extract.detect_file_type(filename, content_type) in extract.IMAGE_TYPES


def decode_inline_file(place: str, file_fields: JsonObject, wanted: WantedForms) -> AttachedFile:
    """Return a file that came with the request in the wanted forms. Raises InvalidRequest."""
    file = read_file_data(place, file_fields)
    return make_attached_file(file, wanted)


def read_file_data(place: str, file_fields: JsonObject) -> FetchedFile:
    """Return a file that came with the request. Raises InvalidRequest."""
    header, comma, encoded = file_fields["file_data"].partition(",")
    if not comma:  # bare base64
        header = ""
        encoded = file_fields["file_data"]
    content_type = header.removeprefix("data:").partition(";")[0]
    try:
        data = b64decode(encoded, validate=True)
    except ValueError:
        message = "file_data must be base64, or a data URL with base64."
        raise InvalidRequest(message, param=f"{place}.file.file_data") from None
    filename = file_fields.get("filename")
    return FetchedFile(filename if isinstance(filename, str) else "", content_type, data)


def make_attached_file(file: FetchedFile, wanted: WantedForms) -> AttachedFile:
    """Return a file that is not stored in the wanted forms."""
    content_type = file.content_type
    data = file.data
    filename = choose_filename(file.filename, content_type, data)
    data_url = ""
    text = ""
    problem = ""
    is_image = is_image_file(filename, content_type)
    if wanted.wants_file_data or is_image:
        data_url = encode_data_url(content_type, data)
    if wanted.wants_text_of(content_type) and not is_image:
        try:
            text = extract.extract_document_text(filename, content_type, data)
        except extract.UnreadableDocument as error:
            problem = str(error)
    return AttachedFile(filename, data_url, text, problem, len(data), is_image=is_image)


def choose_filename(filename: str, content_type: str, data: bytes) -> str:
    """Return a file's name; when the request gives none, one that fits its type."""
    sanitized = file_storage.sanitize_filename(filename)
    default = "document.pdf" if data.startswith(b"%PDF-") else "document.txt"
    return sanitized or DEFAULT_FILENAMES.get(content_type, default)


def encode_data_url(content_type: str, data: bytes) -> str:
    match = MEDIA_TYPE.match(content_type)
    media_type = match[0] if match else "application/octet-stream"
    return f"data:{media_type};base64,{b64encode(data).decode()}"
