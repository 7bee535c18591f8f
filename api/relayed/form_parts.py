"""Write a form (multipart/form-data) anew, part by part, with a boundary of our own.

The file of the caller's form is read in pieces, and so is each file in it: neither is ever whole in
memory. Django reads the form. Source of the framing: RFC 7578.
"""

import tempfile
from secrets import token_hex
from typing import IO, Any, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from providers.exceptions import BodyTooLarge, InvalidRequest
from providers.protocol.relayed_request import UploadedForm

PIECE_BYTES = 256 * 2**10
MEMORY_BYTES = 65_536  # a smaller form stays in memory
TEXT_BYTES = 2**20  # most bytes of all texts of a form: they stay in memory, and are not counted
TAIL_BYTES = 1_024  # of a form, in which its closing boundary must be
UNKNOWN_TYPE = "application/octet-stream"
MODEL_FIELD = "model"
INCOMPLETE = "The form is not complete: its closing boundary is missing."


class FormParts(FileUploadHandler):
    """The parts of a form on their way into a file; `file_fields` names the fields with a file."""

    chunk_size = PIECE_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.boundary = token_hex(24)
        self.file_fields: set[str] = set()
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - the form keeps it
            MEMORY_BYTES, dir=settings.FILE_UPLOAD_TEMP_DIR
        )

    def new_file(self, field_name: str, file_name: str, content_type: str, *args: Any) -> None:
        """Begin the part of a file."""
        super().new_file(field_name, file_name, content_type, *args)
        self.file_fields.add(field_name)
        is_safe = content_type.isascii() and content_type.isprintable()
        self._write_head(
            f"{quote_parameter(field_name)}; filename={quote_parameter(file_name)}\r\n"
            f"Content-Type: {content_type if is_safe and content_type else UNKNOWN_TYPE}"
        )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._file.write(raw_data)

    def file_complete(self, file_size: int) -> None:
        self._file.write(b"\r\n")

    def write_fields(self, fields: QueryDict) -> None:
        """Write the parts of all fields but the model. Raises BodyTooLarge."""
        start = self._file.tell()
        for name, values in fields.lists():
            if name != MODEL_FIELD:
                for value in values:
                    self._write_head(quote_parameter(name))
                    self._file.write(f"{value}\r\n".encode())
        if self._file.tell() - start > TEXT_BYTES:
            raise texts_too_large()

    def _write_head(self, disposition: str) -> None:
        """Write the boundary and the head of a part."""
        self._file.write(
            f"--{self.boundary}\r\n"
            f"Content-Disposition: form-data; name={disposition}\r\n\r\n".encode()
        )

    def finish(self) -> UploadedForm:
        """Return the form."""
        return UploadedForm(self._file, self._file.tell(), self.boundary)

    def close(self) -> None:
        self._file.close()


def texts_too_large() -> BodyTooLarge:
    return BodyTooLarge(f"The texts of a form have at most {TEXT_BYTES} bytes together.")


def quote_parameter(value: str) -> str:
    """Return a parameter of a header in quotes, escaped as browsers do (WHATWG HTML)."""
    escaped = value.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
    return f'"{escaped}"'


def rewrite_form(
    source: IO[bytes], content_type: str
) -> tuple[QueryDict, frozenset[str], UploadedForm]:
    """Return the fields of a form, the names of those with a file, and the form written anew.

    Closes `source`. Run it in a thread: it reads and writes files. Raises InvalidRequest,
    BodyTooLarge.
    """
    parts = FormParts()
    try:
        with source:
            size_bytes = require_closing_boundary(source)
            meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": size_bytes}
            fields, _ = MultiPartParser(meta, cast(Any, source), [parts]).parse()
        parts.write_fields(fields)
    except RequestDataTooBig:
        parts.close()
        raise texts_too_large() from None
    except (MultiPartParserError, SuspiciousOperation) as error:
        parts.close()
        raise InvalidRequest(f"The form cannot be read: {error}") from None
    except BaseException:  # whatever ends it, the file of the form is given back
        parts.close()
        raise
    return fields, frozenset(parts.file_fields), parts.finish()


def require_closing_boundary(source: IO[bytes]) -> int:
    """Return the length of a form's file, which is at its beginning afterwards.

    Raises InvalidRequest when the form ends without its closing boundary.
    """
    size_bytes = source.seek(0, 2)
    source.seek(max(0, size_bytes - TAIL_BYTES))
    if not source.read().rstrip().endswith(b"--"):
        raise InvalidRequest(INCOMPLETE)
    source.seek(0)
    return size_bytes
