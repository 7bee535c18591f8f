"""/v1/files/upload, /v1/files/ingest and /v1/files/{id}/status as OpenKimi had them: long documents in the background.

{"status", "file_id", "filename"}, where status is uploaded, processing, ingested, empty or error; of an ingested one
also the number of its characters and passages, of one that failed also the reason. Each user sees only his own.
"""

from typing import Annotated, Any, cast

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from msgspec import Meta, Struct
from rest_framework.exceptions import ParseError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from api import inputs
from api.views.conversations import owner, storing
from api.views.door import Door
from api.wellformed import missing
from conversations import files
from conversations.documents import ingest
from conversations.models import Document, DocumentState, Purpose, StoredFile
from providers.exceptions import InvalidRequest, UnsupportedMediaType


class Upload(Door):
    parser_classes = (MultiPartParser,)

    def post(self, request: Request) -> Response:
        storing(request)
        if not (request.content_type or "").startswith("multipart/form-data"):
            raise UnsupportedMediaType("Send the file as multipart/form-data.")
        try:
            form = cast(QueryDict, request.data)
        except ParseError:
            raise InvalidRequest("The form cannot be read.", code="invalid_form") from None
        file: Any = form.get("file")
        if not isinstance(file, UploadedFile):
            raise missing("file")
        pieces = file.chunks(files.PIECE_BYTES)
        upload = files.Upload(file.name or "", file.content_type or "", Purpose.USER_DATA, pieces)
        return Response(shown(files.store(owner(request), upload), None))


class Named(Struct):
    file_id: Annotated[str, Meta(min_length=1)]


class Ingest(Door):
    def post(self, request: Request) -> Response:
        storing(request)
        file = files.find(owner(request), inputs.read(request, Named)["file_id"])
        return Response(shown(file, ingest.begin(file)))


class Status(Door):
    def get(self, request: Request, file_id: str) -> Response:
        file = files.find(owner(request), file_id)
        return Response(shown(file, Document.objects.light().filter(file=file).first()))


def shown(file: StoredFile, document: Document | None) -> dict[str, Any]:
    """OpenKimi's answer about a file; a document that waits for its turn is being processed as far as callers go."""
    answer: dict[str, Any] = {"status": DocumentState.UPLOADED, "file_id": file.pk, "filename": file.filename}
    if document is None:
        return answer
    waiting = document.state == DocumentState.UPLOADED
    answer["status"] = DocumentState.PROCESSING if waiting else DocumentState(document.state)
    if document.state == DocumentState.INGESTED:
        answer |= {"characters": document.chars, "passages": document.passages.count()}
    if document.reason:
        answer["message"] = document.reason
    return answer
