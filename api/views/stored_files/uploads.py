"""/v1/uploads in OpenAI's form: a large file comes in parts, and is made of them at the end.

Each user sees only their own uploads. Source: OpenAI's API reference, "Uploads".
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from api.schemas import item_inputs
from api.schemas.json_body import Maybe
from api.views.base import ApiView, owner_id, require_storing
from api.views.stored_files.files import (
    LONGEST_LIFETIME_SECONDS,
    SHORTEST_LIFETIME_SECONDS,
    read_upload_form,
)
from conversations.files import file_storage, parted_uploads_store
from conversations.files.parted_uploads_store import AnnouncedFile
from providers.protocol.json_types import JsonObject

MOST_PARTS = 10_000  # of a list of part ids; UPLOAD_PARTS is the limit for parts


class FileLifetime(Struct):
    """When the file expires, after it is complete."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=SHORTEST_LIFETIME_SECONDS, le=LONGEST_LIFETIME_SECONDS)]


class NewUpload(Struct):
    bytes: Annotated[int, Meta(ge=1)]
    filename: Annotated[str, Meta(min_length=1)]
    mime_type: str
    purpose: str
    expires_after: FileLifetime | Maybe = UNSET


class UploadCompletion(Struct):
    part_ids: Annotated[list[str], Meta(min_length=1, max_length=MOST_PARTS)]
    md5: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{32}$")] | Maybe = UNSET


class Uploads(ApiView):
    parser_classes = (JSONParser,)

    def post(self, request: Request) -> Response:
        require_storing(request)
        body = item_inputs.read_drf_body(request, NewUpload)
        upload = parted_uploads_store.create_upload(owner_id(request), read_announced_file(body))
        return Response(upload.as_openai())


class UploadParts(ApiView):
    parser_classes = (MultiPartParser,)

    def post(self, request: Request, upload_id: str) -> Response:
        require_storing(request)
        upload = parted_uploads_store.find_upload(owner_id(request), upload_id)
        _, data = read_upload_form(request, "data")
        part = parted_uploads_store.add_part(upload, data.chunks(file_storage.PIECE_BYTES))
        return Response(part.as_openai())


class UploadComplete(ApiView):
    parser_classes = (JSONParser,)

    def post(self, request: Request, upload_id: str) -> Response:
        require_storing(request)
        upload = parted_uploads_store.find_upload(owner_id(request), upload_id)
        body = item_inputs.read_drf_body(request, UploadCompletion)
        completed = parted_uploads_store.complete_upload(
            upload, body["part_ids"], body.get("md5") or ""
        )
        return Response(completed.as_openai())


class UploadCancel(ApiView):
    parser_classes = (JSONParser,)

    def post(self, request: Request, upload_id: str) -> Response:
        upload = parted_uploads_store.find_upload(owner_id(request), upload_id)
        return Response(parted_uploads_store.cancel_upload(upload).as_openai())


def read_announced_file(body: JsonObject) -> AnnouncedFile:
    """Return the file that a validated body announces."""
    lifetime = body.get("expires_after") or {}
    return AnnouncedFile(
        body["filename"],
        body["mime_type"],
        body["purpose"],
        body["bytes"],
        lifetime.get("seconds"),
    )
