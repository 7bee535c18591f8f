"""/v1/batches in OpenAI's form: create, list, retrieve, cancel.

Each user sees only their own batches. Source: OpenAI's API reference, "Batch".
"""

import re
from functools import partial
from typing import cast

from rest_framework.request import Request
from rest_framework.response import Response

from api import pagination
from api.authentication import Caller
from api.batches import batch_states
from api.batches.batch_objects import render_batch
from api.batches.create_batch import NewBatch, create_batch
from api.models import Batch
from api.schemas.item_inputs import read_drf_body
from api.views.base import ApiView, owner_id, require_storing
from providers.exceptions import InvalidRequest, UnknownUrl
from providers.network.client_address import find_caller_address

BATCH_ID_PATTERN = re.compile(r"batch_[0-9a-f]{32}", re.ASCII)


class Batches(ApiView):
    def post(self, request: Request) -> Response:
        require_storing(request)
        body = read_drf_body(request, NewBatch)
        address = find_caller_address(request._request)
        text = None if address is None else str(address)
        return Response(render_batch(create_batch(cast(Caller, request.auth), body, text)))

    def get(self, request: Request) -> Response:
        page_query = pagination.parse_page_query(request.query_params)
        rows = pagination.find_page_rows(
            Batch.objects.of_user(owner_id(request)),
            page_query,
            partial(find_batch, owner_id(request)),
            "created_at",
            "id",
        )
        return Response(pagination.render_page(list(map(render_batch, rows)), page_query))


class OneBatch(ApiView):
    def get(self, request: Request, batch_id: str) -> Response:
        return Response(render_batch(find_batch(owner_id(request), batch_id)))


class CancelBatch(ApiView):
    def post(self, request: Request, batch_id: str) -> Response:
        batch = find_batch(owner_id(request), batch_id)
        if not batch_states.mark_cancelling(Batch.objects.filter(pk=batch.pk)):
            batch.refresh_from_db()
            if batch.cancelling_at is None:
                raise InvalidRequest(
                    f"A batch with the status {batch.status!r} cannot be cancelled.",
                    param="batch_id",
                    code="batch_not_cancellable",
                )
        batch.refresh_from_db()
        return Response(render_batch(batch))


def find_batch(user_id: int, batch_id: str) -> Batch:
    """Return a user's own batch.

    Raises UnknownUrl, the same for another user's batch and for an unknown id.
    """
    row = None
    if BATCH_ID_PATTERN.fullmatch(batch_id):
        row = Batch.objects.of_user(user_id).filter(pk=batch_id).first()
    if row is None:
        raise UnknownUrl(
            f"There is no batch {batch_id[:48]!r}.", param="batch_id", code="batch_not_found"
        )
    return row
