"""POST /v1/messages/count_tokens: the number of tokens in the input of a message.

An upstream that counts them itself is asked. For all others text is counted as the ledger counts it
when an upstream gives no figures (`api/accounting/token_count.py`): an estimate for models with
another vocabulary. Source: Anthropic's API reference, "Count tokens in a Message".
"""

import time

import orjson
from django.http import HttpResponseBase

from api.accounting import token_count
from api.authentication import Caller
from api.exceptions import api_endpoint
from api.messages.request.body_shape import MessageCountBody
from api.relay.lean_request import LeanRequest
from api.relay.request_limits import count_request
from api.streaming.stream_answer import JsonAnswer
from api.views.messages.create_message import (
    REQUEST_ID_HEADER,
    ReceivedMessages,
    accept_messages,
    receive_messages,
)
from providers.exceptions import GatewayError, Rejected, UpstreamError
from providers.filters.file_parts import FILE_ID_FIELD, find_file_parts, read_file_fields
from providers.protocol.request import ChatRequest
from providers.vault import VaultError


@api_endpoint("POST")
async def count_message_tokens(request: LeanRequest) -> HttpResponseBase:
    """Answer with the number of tokens of a message. Raises GatewayError."""
    start_time = time.monotonic()
    caller = await request.authenticate()
    received = await receive_messages(request, caller, MessageCountBody)
    try:
        accepted = accept_messages(request, caller, received)
        async with count_request(request, caller):
            count = await count_at_upstream(request, caller, received, accepted.chat_request)
            if count is None:
                count = (await token_count.count_body(received.form.body)).tokens
    except GatewayError as error:
        received.form.positions.rename_param(error)
        raise
    response = JsonAnswer(orjson.dumps({"input_tokens": count}), request.request_id, start_time)
    response.raw_headers += request.list_limit_headers()
    response.headers[REQUEST_ID_HEADER] = request.request_id
    return response


async def count_at_upstream(
    request: LeanRequest, caller: Caller, received: ReceivedMessages, chat_request: ChatRequest
) -> int | None:
    """Return the tokens that the first candidate's upstream counts, or None if it does not.

    It is not asked about files by their ids: these are the caller's here, and of the operator's
    account there. Raises Rejected when it finds the request at fault.
    """
    gateway = request.gateway
    if has_stored_files(chat_request):
        return None
    public_id = received.model.public_id
    candidate = gateway.catalogue.find_candidates(public_id, chat_request, caller.provider)[0]
    pool = gateway.pool
    upstream = candidate.adapter.upstream
    entry = pool.pick_token(upstream, (), model=candidate.model.name)
    if caller.tokens or (entry is None and not pool.is_asked_anonymously(upstream)):
        return None
    try:
        return await candidate.adapter.count_prompt_tokens(
            chat_request, candidate.configure_model(chat_request), pool.open_credential(entry)
        )
    except Rejected:
        raise
    except (UpstreamError, VaultError):
        return None


def has_stored_files(chat_request: ChatRequest) -> bool:
    """Return whether messages name files by their ids."""
    parts = find_file_parts(chat_request.body["messages"])
    return any(FILE_ID_FIELD in read_file_fields(part) for _, part in parts)
