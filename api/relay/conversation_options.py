"""The conversation fields of a chat request: which conversation it continues and how it is kept.

A name that the client chose (in the path, `conversation_id` or `session_id`) belongs to the API
key's user. It starts a conversation on first use. OpenAI's ids (conv_…, resp_…, chatcmpl-…) must
exist. `store: true` makes the completion retrievable. With a key that stores nothing, `store` is
treated as false, as OpenAI does it, and a conversation is refused.
"""

from functools import partial
from typing import Any

from django.conf import settings

from api.authentication import Caller
from api.relay.gateway import LeanRequest
from api.schemas import item_inputs
from api.schemas.json_body import call_beside_loop
from conversations.history.conversation_lookup import TurnRequest
from conversations.history.recorder import RecalledTurn
from conversations.messages import chat_to_items
from conversations.models import TurnEndpoint
from conversations.prompts.token_budget import prompt_token_budget
from providers.catalogue import ResolvedModel
from providers.exceptions import InvalidRequest

LONGEST_NAME = 200
OPENAI_ID_FIELDS = {"conv_": "conversation_id", "resp_": "previous_id", "chatcmpl-": "previous_id"}


async def start_chat_turn(
    request: LeanRequest,
    caller: Caller,
    body: dict[str, Any],
    meaning: ResolvedModel,
    size_bytes: int,
) -> RecalledTurn | None:
    """Start the request's turn, or return None when nothing of the request is to be kept.

    Writes the turn to the database. With a conversation, `body["messages"]` is replaced by all
    messages that the upstream gets. `metadata` is removed from the body when the completion is
    stored. `size_bytes` is the size of the body. Raises InvalidRequest, Forbidden, UnknownUrl,
    ConversationBusy.
    """
    name, session = read_conversation_name(body)
    stored = bool(body.get("store")) and caller.can_store and caller.user_id is not None
    if not name and not stored:
        return None
    caller.require_storing()
    if name and (body.get("n") or 1) > 1:
        raise InvalidRequest("A conversation goes on with one answer: n is 1.", param="n")
    asked = TurnRequest(
        request_id=request.request_id.removeprefix("req_"),
        user_id=caller.user_id or 0,
        endpoint=TurnEndpoint.CHAT,
        model=body["model"],
        entries=await call_beside_loop(
            size_bytes, partial(chat_to_items.entries_from_messages, body["messages"])
        ),
        **lookup_argument(name),
        stored=stored,
        idle_seconds=idle_limit_seconds(name, is_session=session),
        metadata=item_inputs.validate_metadata(body.pop("metadata", None)) if stored else {},
        settings={
            field: body[field] for field in STORED_SETTING_FIELDS if body.get(field) is not None
        },
        budget_tokens=prompt_budget_tokens(
            request.gateway.catalogue.find_context_window(meaning.public_id), body
        ),
    )
    begun = await request.gateway.history.recall_turn(asked)
    if name:
        body["messages"] = begun.messages
    return begun


STORED_SETTING_FIELDS = (
    *(
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "max_tokens",
        "max_completion_tokens",
        "seed",
    ),
    *(
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "service_tier",
        "user",
    ),
)


def read_conversation_name(body: dict[str, Any]) -> tuple[str, bool]:
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


def read_conversation_fields(body: dict[str, Any]) -> dict[str, str] | None:
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


def prompt_budget_tokens(window_tokens: int | None, body: dict[str, Any]) -> int:
    """Return the tokens that the whole prompt may have: the window less the room for the answer."""
    return prompt_token_budget(window_tokens or settings.CONTEXT_TOKENS, body)
