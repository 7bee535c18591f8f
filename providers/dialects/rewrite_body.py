"""Rewrite the body of a chat completion for the dialect of its upstream. No I/O.

A body that needs no change keeps its messages and tools as they are, in their order, so that the
upstream's prompt cache finds them again.
"""

from typing import Any

from providers.protocol.dialect import CALL_EXTRA_FIELDS, REASONING_FIELD, Dialect
from providers.protocol.json_types import FrozenJsonObject, JsonObject

LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")
THINKING_FIELDS = (REASONING_FIELD, "reasoning")
REWRITTEN_ROLES = frozenset(("developer", "assistant"))
UNMENTIONED_FIELDS = frozenset(("stream_options",))
CACHE_MARK = "cache_control"
RAW_OPENING = "<think>"
RAW_CLOSING = "</think>"
NO_THINKING = " "  # DeepSeek and Moonshot refuse an empty text


def rewrite_chat_body(body: JsonObject, dialect: Dialect) -> None:
    """Rewrite a chat body in place. Its messages are replaced, never changed."""
    messages = body["messages"]
    offers_tools = bool(body.get("tools"))
    for message in messages:
        if message["role"] in REWRITTEN_ROLES or not dialect.takes_names:
            body["messages"] = [
                rewrite_message(message, dialect, offers_tools=offers_tools) for message in messages
            ]
            break
    if not dialect.takes_cache_control and has_cache_marks(body):
        remove_cache_marks(body)
    if dialect.limit_field:
        rename_limit(body, dialect.limit_field)
    for name in dialect.refused_fields & body.keys():
        del body[name]


def find_omitted_fields(asked_body: FrozenJsonObject, sent_body: JsonObject) -> list[str]:
    """Return the fields of the caller's body that the upstream does not get, sorted.

    A field with another name, one that is null, and `stream_options`, which the gateway serves
    itself, are not among them.
    """
    omitted = asked_body.keys() - sent_body.keys() - UNMENTIONED_FIELDS
    if not sent_body.keys().isdisjoint(LIMIT_FIELDS):
        omitted -= set(LIMIT_FIELDS)
    return sorted(name for name in omitted if asked_body[name] is not None)


def rename_limit(body: JsonObject, name: str) -> None:
    """Give the limit of the answer this name, in place; of two limits the smaller one counts."""
    limits = [body.pop(field) for field in LIMIT_FIELDS if field in body]
    numbers = [limit for limit in limits if limit is not None]
    if numbers:
        body[name] = min(numbers)


def rewrite_message(message: JsonObject, dialect: Dialect, *, offers_tools: bool) -> JsonObject:
    """Return the message as the upstream takes it; the same object where nothing changes."""
    changed = message
    if message["role"] == "developer" and not dialect.knows_developer:
        changed = message | {"role": "system"}
    elif message["role"] == "assistant":
        changed = rewrite_answer(message, dialect, offers_tools=offers_tools)
    if "name" in changed and not dialect.takes_names and changed["role"] != "tool":
        changed = {field: value for field, value in changed.items() if field != "name"}
    return changed


def rewrite_answer(message: JsonObject, dialect: Dialect, *, offers_tools: bool) -> JsonObject:
    """Return a message of the model as the upstream takes it back."""
    calls = message.get("tool_calls")
    if calls and not dialect.takes_call_extras and any(map(has_call_extras, calls)):
        message = message | {"tool_calls": [remove_call_extras(call) for call in calls]}
    field = dialect.thinking_field
    if field is None:
        return message
    thinking = message.get(REASONING_FIELD) or message.get("reasoning") or None
    if thinking is None and dialect.needs_thinking and offers_tools:
        message = move_raw_thinking(message)
        thinking = message.get(REASONING_FIELD) or NO_THINKING
    if thinking is None or not field:
        return remove_thinking(message, keeps_details=bool(field))
    if message.get(field) == thinking and sum(name in message for name in THINKING_FIELDS) == 1:
        return message
    return remove_thinking(message, keeps_details=True) | {field: thinking}


def move_raw_thinking(message: JsonObject) -> JsonObject:
    """Return the message with thinking that callers got in its text in a field of its own.

    The text has the form that the gateway gives callers who want it `raw`.
    """
    content = message.get("content")
    if not isinstance(content, str) or not content.startswith(RAW_OPENING):
        return message
    thinking, closing, text = content.removeprefix(RAW_OPENING).partition(RAW_CLOSING)
    if not closing or not thinking.strip():
        return message
    content = text.removeprefix("\n\n")
    if not content and message.get("tool_calls"):
        content = None
    return message | {"content": content, REASONING_FIELD: thinking}


def has_call_extras(call: JsonObject) -> bool:
    return any(name in call for name in CALL_EXTRA_FIELDS)


def remove_call_extras(call: JsonObject) -> JsonObject:
    """Return the call without the fields that only its own upstream wants back."""
    return {name: value for name, value in call.items() if name not in CALL_EXTRA_FIELDS}


def remove_thinking(message: JsonObject, *, keeps_details: bool) -> JsonObject:
    """Return the message without its thinking; the same object if it has none.

    `reasoning_details` are OpenRouter's, and signed: it wants them back as they came.
    """
    removed = [*THINKING_FIELDS]
    if not keeps_details:
        removed.append("reasoning_details")
    if not any(name in message for name in removed):
        return message
    return {name: value for name, value in message.items() if name not in removed}


def has_cache_marks(body: JsonObject) -> bool:
    """Return whether a message, a content part or a tool has a mark for Anthropic's cache.

    Every chat request passes here: a message whose content is a text is not looked into.
    """
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, list) and any(CACHE_MARK in part for part in content):
            return True
        if CACHE_MARK in message:
            return True
    return any(map(is_marked_tool, body.get("tools") or ()))


def is_marked_tool(tool: JsonObject) -> bool:
    """Return whether a tool, or the function in it, has a mark."""
    return CACHE_MARK in tool or CACHE_MARK in (tool.get("function") or ())


def remove_cache_marks(body: JsonObject) -> None:
    """Replace the messages and tools of a body by ones without marks, in place."""
    body["messages"] = [remove_mark(message, "content") for message in body["messages"]]
    if body.get("tools"):
        body["tools"] = [remove_mark(tool, "function") for tool in body["tools"]]


def remove_mark(holder: Any, inner_field: str) -> Any:
    """Return a message, part or tool without its mark and those of what `inner_field` holds."""
    if not isinstance(holder, dict):
        return holder
    unmarked = {name: value for name, value in holder.items() if name != CACHE_MARK}
    inner = unmarked.get(inner_field)
    if isinstance(inner, list):
        unmarked[inner_field] = [remove_mark(part, "") for part in inner]
    elif isinstance(inner, dict):
        unmarked[inner_field] = remove_mark(inner, "")
    return unmarked
