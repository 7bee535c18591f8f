"""/v1/files/upload, /v1/files/ingest and /v1/files/{id}/status, in OpenKimi's form.

They process long documents in the background. Answers are {"status", "file_id", "filename"}; status
is uploaded, processing, ingested, empty or error. An ingested document also has its number of
characters and passages, a failed one the reason. Each user sees only their own.
"""

from dataclasses import replace
from typing import Annotated

from msgspec import Meta, Struct
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from api.schemas import item_inputs
from api.views.base import ApiView, owner_id, require_storing
from api.views.stored_files.files import build_upload, read_upload_form
from conversations.documents import ingest
from conversations.files import file_storage
from conversations.models import Document, DocumentState, FilePurpose, StoredFile
from providers.protocol.json_types import JsonObject


class FileUpload(ApiView):
    parser_classes = (MultiPartParser,)

    def post(self, request: Request) -> Response:
        require_storing(request)
        _, file = read_upload_form(request)
        upload = replace(build_upload(file, FilePurpose.USER_DATA), is_document=True)
        stored_file = file_storage.store_file(owner_id(request), upload)
        return Response(render_file_status(stored_file, None))


class IngestBody(Struct):
    file_id: Annotated[str, Meta(min_length=1)]


class FileIngestion(ApiView):
    def post(self, request: Request) -> Response:
        require_storing(request)
        file_id = item_inputs.read_drf_body(request, IngestBody)["file_id"]
        file = file_storage.find_stored_file(owner_id(request), file_id)
        return Response(render_file_status(file, ingest.start_file_ingestion(file)))


class IngestionStatus(ApiView):
    def get(self, request: Request, file_id: str) -> Response:
        file = file_storage.find_stored_file(owner_id(request), file_id)
        document = Document.objects.defer_index().filter(file=file).first()
        return Response(render_file_status(file, document))


def render_file_status(file: StoredFile, document: Document | None) -> JsonObject:
    """Return OpenKimi's answer about a file.

    A document that waits in the queue counts as being processed.
    """
    answer: JsonObject = {
        "status": DocumentState.UPLOADED,
        "file_id": file.pk,
        "filename": file.filename,
    }
    if document is None:
        return answer
    answer["status"] = DocumentState(document.state)
    if document.state == DocumentState.UPLOADED:
        answer["status"] = DocumentState.PROCESSING
    if document.state == DocumentState.INGESTED:
        answer |= {"characters": document.chars, "passages": document.passages.count()}
    if document.reason:
        answer["message"] = document.reason
    return answer
