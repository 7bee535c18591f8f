"""The turn of a response request, and the messages that its upstream gets."""

from dataclasses import dataclass

from django.conf import settings

from api.authentication import Caller
from api.relay import conversation_options
from api.relay.gateway import Gateway
from api.responses.output.echoed_fields import echo_fields
from api.responses.request import schema, to_chat
from conversations.history import start_turn
from conversations.history.recorder import RecalledTurn
from conversations.history.turn_request import TurnRequest
from conversations.messages import input_to_items, items_to_chat
from conversations.messages.items import Entry
from conversations.models import TurnEndpoint
from providers.catalogue import ResolvedModel
from providers.database.database_threads import TURNS, await_in_time
from providers.protocol.json_types import JsonObject

UNTRIMMED_TOKENS = 4_000_000  # more than any model reads


@dataclass(frozen=True, slots=True)
class EarlierItems:
    """The items before a request that are in the memory of its connection.

    They follow the stored response `previous_id`, or nothing when it is empty.
    """

    previous_id: str
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class ReceivedBody:
    """A request's body, its size in bytes, and the time when it came, on the monotonic clock.

    `earlier` has the items of the response that its `previous_response_id` names, if the request's
    connection remembers it.
    """

    body: JsonObject
    size_bytes: int
    start_time: float
    earlier: EarlierItems | None = None


def build_turn_request(
    gateway: Gateway,
    caller: Caller,
    request_id: str,
    received: ReceivedBody,
    model: ResolvedModel,
) -> TurnRequest:
    """Return the request in the form in which the conversation history takes it.

    Raises Forbidden when it needs storing and the key may not store.
    """
    body = received.body
    conversation_id = schema.find_conversation_id(body)
    previous_id = body.get("previous_response_id") or ""
    entries = input_to_items.entries_from_input(body.get("input") or [])
    if received.earlier is not None:
        previous_id = received.earlier.previous_id
        entries = [*received.earlier.entries, *entries]
    if conversation_id or previous_id or body.get("background"):
        caller.require_storing()
    is_stored = body.get("store") is not False and caller.can_store and caller.user_id is not None
    window_tokens = gateway.catalogue.find_context_window(model.public_id)
    return TurnRequest(
        request_id=request_id.removeprefix("req_"),
        user_id=caller.user_id or 0,
        endpoint=TurnEndpoint.RESPONSE,
        model=body["model"],
        entries=entries,
        conversation_id=conversation_id,
        previous_id=previous_id,
        stored=is_stored,
        background=bool(body.get("background")),
        idle_seconds=int(settings.RESPONSE_KEEP_SECONDS),
        metadata=body.get("metadata") or {},
        settings=echo_fields(body),
        budget_tokens=find_history_budget(window_tokens, body),
        tool_names=to_chat.read_tool_names(body),
    )


def find_history_budget(window_tokens: int | None, body: JsonObject) -> int:
    """Return how many tokens a prompt with its history may have before that is trimmed.

    The history is not trimmed where the request wants an error instead, or a summary.
    """
    if body.get("truncation") == "disabled" or body.get("context_management"):
        return UNTRIMMED_TOKENS
    return conversation_options.prompt_budget_tokens(window_tokens, body)


async def create_turn_if_remembered(
    gateway: Gateway, turn_request: TurnRequest
) -> tuple[RecalledTurn | None, list[JsonObject]]:
    """Return the turn, if the request is to be remembered, and all messages for the upstream.

    Writes the turn when the response is stored or part of a conversation.
    """
    if turn_request.stored or turn_request.conversation_id:
        turn = await gateway.history.recall_turn(turn_request)
        return turn, turn.messages
    if not turn_request.previous_id:
        messages = items_to_chat.entries_to_messages(turn_request.entries, turn_request.tool_names)
        return None, messages
    work = await TURNS.start_work(
        turn_request.user_id, start_turn.compose_unsaved_messages, turn_request
    )
    return None, await await_in_time(work)
