"""/v1/files in OpenAI's form: upload, list, retrieve, content, delete.

Each user sees only their own files. An upload's body comes from a spooled file
(`proxysite/server/lean_handler.py`), so that no upload is ever whole in memory. Source: OpenAI's
API reference, "Files".
"""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, cast

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponseBase, QueryDict, StreamingHttpResponse
from rest_framework.exceptions import ParseError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from api import pagination
from api.schemas.json_body import missing_parameter_error
from api.views.base import ApiView, SingleFormatNegotiation, owner_id, require_storing
from conversations.files import file_storage
from conversations.models import FilePurpose, StoredFile
from providers.exceptions import InternalError, InvalidRequest, UnsupportedMediaType

LONGEST_PAGE = 10_000
SHORTEST_LIFETIME_SECONDS = 3_600
LONGEST_LIFETIME_SECONDS = 2_592_000


class Files(ApiView):
    parser_classes = (MultiPartParser,)

    def post(self, request: Request) -> Response:
        require_storing(request)
        form, file = read_upload_form(request)
        purpose = form.get("purpose")
        if not isinstance(purpose, str):
            raise missing_parameter_error("purpose")
        upload = build_upload(file, purpose, read_expiry_seconds(form))
        return Response(file_storage.store_file(owner_id(request), upload).as_openai())

    def get(self, request: Request) -> Response:
        page_query = pagination.parse_page_query(
            request.query_params, limit=LONGEST_PAGE, most_rows=LONGEST_PAGE
        )
        files = StoredFile.objects.of_user(owner_id(request))
        if purpose := request.query_params.get("purpose"):
            files = files.filter(purpose__in={purpose}.intersection(FilePurpose.values))
        rows = pagination.find_page_rows(
            files,
            page_query,
            partial(file_storage.find_stored_file, owner_id(request)),
            "created_at",
            "id",
        )
        return Response(pagination.render_page([row.as_openai() for row in rows], page_query))


class File(ApiView):
    def get(self, request: Request, file_id: str) -> Response:
        return Response(file_storage.find_stored_file(owner_id(request), file_id).as_openai())

    def delete(self, request: Request, file_id: str) -> Response:
        file_storage.find_stored_file(owner_id(request), file_id).delete()
        return Response({"id": file_id, "object": "file", "deleted": True})


class FileContent(ApiView):
    content_negotiation_class = SingleFormatNegotiation

    def get(self, request: Request, file_id: str) -> HttpResponseBase:
        row = file_storage.find_stored_file(owner_id(request), file_id)
        path = file_storage.path_of(row.pk)
        if not path.is_file():
            raise InternalError("The bytes of this file are not here.")
        # never the file's own type: a browser must not show it as a page of this site
        headers = {"content-length": str(row.size_bytes), "content-disposition": "attachment"}
        return StreamingHttpResponse(
            read_file_pieces(path), content_type="application/octet-stream", headers=headers
        )


def read_expiry_seconds(form: QueryDict) -> int | None:
    """Return the seconds after which the file expires, or None.

    Raises InvalidRequest.
    """
    anchor = form.get("expires_after[anchor]")
    seconds = form.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise InvalidRequest(
            "A file expires after the anchor created_at.", param="expires_after.anchor"
        )
    return pagination.read_integer(
        seconds, "expires_after.seconds", SHORTEST_LIFETIME_SECONDS, LONGEST_LIFETIME_SECONDS
    )


def read_upload_form(
    request: Request, field: str = "file"
) -> tuple[QueryDict, "UploadedFile[Any]"]:
    """Return the form of an upload, and the file in this field of it.

    Raises UnsupportedMediaType, InvalidRequest.
    """
    if not (request.content_type or "").startswith("multipart/form-data"):
        raise UnsupportedMediaType("Send the file as multipart/form-data.")
    try:
        form = cast(QueryDict, request.data)
    except ParseError:
        raise InvalidRequest("The form cannot be read.", code="invalid_form") from None
    file: object = form.get(field)
    if not isinstance(file, UploadedFile):
        raise missing_parameter_error(field)
    return form, file


def build_upload(
    file: "UploadedFile[Any]", purpose: str, expires_seconds: int | None = None
) -> file_storage.Upload:
    pieces = file.chunks(file_storage.PIECE_BYTES)
    return file_storage.Upload(
        file.name or "", file.content_type or "", purpose, pieces, expires_seconds
    )


async def read_file_pieces(path: Path) -> AsyncIterator[bytes]:
    """Yield the file in pieces; it is opened when the first piece is read."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, file_storage.PIECE_BYTES):
            yield piece
