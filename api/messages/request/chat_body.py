"""The chat body that says the same as a Messages body, for every upstream."""

import hashlib
from typing import NamedTuple

import orjson

from api.messages.field_names import MessagesPositions
from api.messages.request.chat_tools import build_tool_fields
from api.messages.request.chat_turns import build_chat_turns
from api.schemas.chat_request_body import check_chat_body
from providers.exceptions import GatewayError
from providers.protocol.json_types import JsonObject

SAME_FIELDS = ("model", "max_tokens", "stream", "temperature", "top_p", "top_k")
THINKING_FIELDS = ("type", "budget_tokens")
# efforts that follow from a budget of thinking tokens; the first whose limit is larger counts
EFFORTS_BY_BUDGET = ((4_096, "low"), (16_384, "medium"))
SESSION_MARK = "_session_"
ACCOUNT_FIELDS = ("device_id", "account_uuid")
SCHEMA_NAME = "answer"


class ChatForm(NamedTuple):
    """The chat body of a Messages body, and where its messages stand there."""

    body: JsonObject
    positions: MessagesPositions


def build_chat_form(body: JsonObject) -> ChatForm:
    """Return the chat body of a validated Messages body. Raises InvalidRequest."""
    turns = build_chat_turns(body)
    chat_body = {name: body[name] for name in SAME_FIELDS if body.get(name) is not None}
    chat_body["messages"] = turns.messages
    if body.get("stop_sequences"):
        chat_body["stop"] = body["stop_sequences"]
    if body.get("service_tier") == "standard_only":
        chat_body["service_tier"] = "default"
    if user := find_end_user((body.get("metadata") or {}).get("user_id")):
        chat_body["user"] = user
    if thinking := body.get("thinking"):
        chat_body["thinking"] = build_thinking(thinking)
    if effort := find_effort(body):
        chat_body["reasoning_effort"] = effort
    if response_format := find_response_format(body):
        chat_body["response_format"] = response_format
    chat_body |= build_tool_fields(body)
    positions = MessagesPositions(turns.places)
    try:
        check_chat_body(chat_body)
    except GatewayError as error:
        positions.rename_param(error)
        raise
    return ChatForm(chat_body, positions)


def build_thinking(thinking: JsonObject) -> JsonObject:
    """Return the wish to think without the fields that only change the form of the answer."""
    fields = {name: thinking[name] for name in THINKING_FIELDS if thinking.get(name) is not None}
    return fields | {"type": "adaptive"} if fields["type"] == "between_tools" else fields


def find_effort(body: JsonObject) -> str:
    """Return how much the model is to think: as the caller says, or as a budget suggests."""
    effort = (body.get("output_config") or {}).get("effort")
    if effort:
        return str(effort)
    budget = (body.get("thinking") or {}).get("budget_tokens")
    if not budget:
        return ""
    return next((name for limit, name in EFFORTS_BY_BUDGET if budget < limit), "high")


def find_response_format(body: JsonObject) -> JsonObject | None:
    """Return the schema of the answer in the form of a chat body, or None."""
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if not wanted:
        return None
    schema = {
        "name": wanted.get("name") or SCHEMA_NAME,
        "schema": wanted["schema"],
        "strict": True,
    }
    return {"type": "json_schema", "json_schema": schema}


def find_end_user(user_id: str | None) -> str:
    """Return the end user whom `metadata.user_id` names, without the session that it may have.

    Claude Code puts the session into it, as JSON or behind `_session_`; limits of an end user must
    not begin anew with each. A long name is shortened to what other services accept.
    """
    if not user_id:
        return ""
    name = user_id
    if user_id.startswith("{"):
        try:
            fields = orjson.loads(user_id)
        except orjson.JSONDecodeError:
            fields = {}
        known = [str(fields[field]) for field in ACCOUNT_FIELDS if fields.get(field)]
        name = "_".join(known) or user_id
    name = name.partition(SESSION_MARK)[0] or name
    if len(name) <= 64:
        return name
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
