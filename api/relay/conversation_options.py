"""The conversation fields of a chat request: which conversation it continues and how it is kept.

A name that the client chose (in the path, `conversation_id` or `session_id`) belongs to the API
key's user. It starts a conversation on first use. OpenAI's ids (conv_…, resp_…, chatcmpl-…) must
exist. `store: true` makes the completion retrievable. With a key that stores nothing, `store` is
treated as false, as OpenAI does it, and a conversation is refused.

Other services know `session_id` as a label that only groups requests. Their clients send all
messages each time, and must not get an earlier request's as well. So it names a conversation only
where the API key's row or the header `X-Remember-Session` says so. Otherwise the requests of a
session share an upstream token, as long as that is healthy, and nothing is kept.
"""

from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Any

from django.conf import settings
from msgspec import structs

from api.authentication import Caller
from api.relay.lean_request import LeanRequest
from api.schemas import item_inputs
from api.schemas.json_body import call_beside_loop
from conversations.history.recorder import RecalledTurn
from conversations.history.turn_request import TurnRequest
from conversations.messages import chat_to_items
from conversations.messages.tool_names import ToolNames
from conversations.models import TurnEndpoint
from conversations.prompts.token_budget import prompt_token_budget
from providers.catalogue import ResolvedModel
from providers.exceptions import InvalidRequest
from providers.protocol.request import ChatRequest

STORED_SETTING_FIELDS = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "service_tier",
    "user",
)
LONGEST_NAME = 200
REMEMBER_HEADER = "HTTP_X_REMEMBER_SESSION"
YES_WORDS = ("1", "on", "true", "yes")
OPENAI_ID_FIELDS = {"conv_": "conversation_id", "resp_": "previous_id", "chatcmpl-": "previous_id"}


async def start_chat_turn(
    request: LeanRequest,
    caller: Caller,
    body: Mapping[str, Any],
    model: ResolvedModel,
    size_bytes: int,
) -> RecalledTurn | None:
    """Start the request's turn, or return None when nothing of the request is to be kept.

    Writes the turn to the database. `size_bytes` is the size of the body. Raises InvalidRequest,
    Forbidden, UnknownUrl, ConversationBusy.
    """
    name, is_session = read_conversation_name(body)
    is_stored = bool(body.get("store")) and caller.can_store and caller.user_id is not None
    if not name and not is_stored:
        return None
    caller.require_storing()
    if name and (body.get("n") or 1) > 1:
        raise InvalidRequest("A conversation goes on with one answer: n is 1.", param="n")
    read_entries = partial(chat_to_items.entries_from_messages, body["messages"])
    window_tokens = request.gateway.catalogue.find_context_window(model.public_id)
    turn_request = TurnRequest(
        request_id=request.request_id.removeprefix("req_"),
        user_id=caller.user_id or 0,
        endpoint=TurnEndpoint.CHAT,
        model=body["model"],
        entries=await call_beside_loop(size_bytes, read_entries),
        **lookup_argument(name),
        stored=is_stored,
        idle_seconds=idle_limit_seconds(name, is_session=is_session),
        metadata=item_inputs.validate_metadata(body.get("metadata")) if is_stored else {},
        settings={
            field: body[field] for field in STORED_SETTING_FIELDS if body.get(field) is not None
        },
        budget_tokens=prompt_budget_tokens(window_tokens, body),
        tool_names=ToolNames(keeps_custom_calls=offers_custom_tools(body)),
    )
    return await request.gateway.history.recall_turn(turn_request)


def offers_custom_tools(body: Mapping[str, Any]) -> bool:
    """Return whether the upstream of this request gets custom tools, and so custom calls."""
    return any(tool["type"] == "custom" for tool in body.get("tools") or ())


def apply_turn(body: Mapping[str, Any], turn: RecalledTurn | None) -> Mapping[str, Any]:
    """Return the body for the upstream of a request with this turn.

    In a conversation it has all messages. `metadata` of a stored completion stays here.
    """
    if turn is None:
        return body
    upstream_body = dict(body)
    if turn.continues_conversation:
        upstream_body["messages"] = turn.messages
    if body.get("store"):
        upstream_body.pop("metadata", None)
    return upstream_body


def separate_session(
    body: Mapping[str, Any], caller: Caller, meta: Mapping[str, Any]
) -> tuple[Mapping[str, Any], str]:
    """Return the body without a `session_id` that only groups, and the name of the group.

    The name is empty when there is no such session. `meta` has the request's headers as Django
    names them.
    """
    session_id = body.get("session_id")
    if session_id is None or remembers_session(caller, meta):
        return body, ""
    other_fields = {name: value for name, value in body.items() if name != "session_id"}
    if not session_id or caller.user_id is None:
        return other_fields, ""
    return other_fields, name_group(caller.user_id, session_id)


def name_group(user_id: int, session_id: str) -> str:
    """Return the name of the group of requests that a user's session makes."""
    digest = sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"session:{user_id}:{digest}"


def add_group(chat_request: ChatRequest, group: str) -> ChatRequest:
    """Return the request as one of a group, unless it is part of a conversation."""
    if chat_request.conversation:
        return chat_request
    return structs.replace(chat_request, conversation=group)


def remembers_session(caller: Caller, meta: Mapping[str, Any]) -> bool:
    """Return whether a `session_id` names a conversation: by the header, else by the key."""
    header = meta.get(REMEMBER_HEADER)
    if header is None:
        return caller.remembers_sessions
    return str(header).strip().lower() in YES_WORDS


def read_conversation_name(body: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the conversation that the body names, and whether it is a session.

    The name is "" when there is none. Raises InvalidRequest.
    """
    names = {field: body[field] for field in ("conversation_id", "session_id") if body.get(field)}
    if len(set(names.values())) > 1:
        raise InvalidRequest("The request names two conversations.", param=max(names))
    for field, name in names.items():
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise InvalidRequest(
                f"{field} has at most {LONGEST_NAME} printable characters.", param=field
            )
    return next(iter(names.values()), ""), "session_id" in names


def read_conversation_fields(body: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the conversation as the answer names it: in the fields of the request."""
    names = {field: body[field] for field in ("conversation_id", "session_id") if body.get(field)}
    return names or None


def lookup_argument(name: str) -> dict[str, Any]:
    """Return the name as a keyword argument of `TurnRequest`, which depends on its prefix."""
    field = next(
        (field for prefix, field in OPENAI_ID_FIELDS.items() if name.startswith(prefix)), "name"
    )
    return {field: name} if name else {}


def idle_limit_seconds(name: str, *, is_session: bool) -> int:
    """Return the seconds without use after which the conversation is deleted; 0 means never."""
    if not name:
        return int(settings.RESPONSE_KEEP_SECONDS)
    return int(settings.SESSION_IDLE_SECONDS if is_session else settings.CONVERSATION_IDLE_SECONDS)


def prompt_budget_tokens(window_tokens: int | None, body: Mapping[str, Any]) -> int:
    """Return the tokens that the whole prompt may have: the window less the room for the answer."""
    return prompt_token_budget(window_tokens or settings.CONTEXT_TOKENS, body)
