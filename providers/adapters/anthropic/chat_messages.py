"""Write the messages of a chat body as those of the Messages API. No I/O.

Messages of one role in a row become one message. The results of calls come first in the message
that follows the calls. Signed thinking goes back as it came. Source: Anthropic's API reference,
"Messages", "Handle tool calls", "Thinking", "Mid-conversation system messages".
"""

import re
from collections.abc import Sequence

import orjson

from providers.adapters.anthropic.content_blocks import (
    MARK_FIELD,
    convert_content,
    make_text_blocks,
)
from providers.adapters.anthropic.whole_message import THINKING_FORMAT
from providers.filters.call_texts.json_mender import find_only_reading
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import SYSTEM_ROLES
from providers.wire.json_reader import read_json

# Anthropic's conversations begin with a message of the user
OPENING_TEXT = "(The conversation begins.)"
CONTINUATION_TEXT = "(Go on.)"
SYSTEM_MARK = "[Instructions for you, not written by the user]\n"
RAW_ARGUMENTS = "arguments"  # holds the text of arguments that are no JSON object
FOREIGN_ID_CHARS = re.compile(r"[^A-Za-z0-9_-]")
ROLES = {"assistant": "assistant", "system": "system", "developer": "system"}


def split_system(messages: Sequence[JsonObject]) -> tuple[list[JsonObject], int]:
    """Return the blocks of the system messages at the beginning, and how many messages they are.

    Raises Rejected.
    """
    blocks: list[JsonObject] = []
    count = 0
    for message in messages:
        if message["role"] not in SYSTEM_ROLES:
            break
        blocks += convert_plain_message(message, f"messages[{count}]")
        count += 1
    return blocks, count


class MessageWriter:
    """The messages written so far; `takes_system_messages` as in ModelFamily."""

    def __init__(self, *, takes_system_messages: bool) -> None:
        self.messages: list[JsonObject] = []
        self._takes_system_messages = takes_system_messages
        self._ids: dict[str, str] = {}  # of calls, by their id in the chat body
        self._taken_ids: set[str] = set()
        self._function_ids: list[str] = []  # of calls in OpenAI's old form, without a result yet

    def add_message(self, message: JsonObject, path: str) -> None:
        """Add one message of the chat body. Raises Rejected."""
        role = message["role"]
        if role == "assistant":
            self._add_blocks("assistant", self._convert_answer(message, path))
        elif role in ("tool", "function"):
            self._add_blocks("user", [self._convert_result(message, path)])
        else:
            self._add_blocks(ROLES.get(role, "user"), convert_plain_message(message, path))

    def finish(self, *, takes_prefill: bool) -> list[JsonObject]:
        """Return all messages as Anthropic takes them."""
        self._place_system_messages()
        messages = self.messages
        if not messages or messages[0]["role"] != "user":
            messages.insert(0, make_user_message(OPENING_TEXT))
        if messages[-1]["role"] == "assistant":
            end_with_answer(messages, takes_prefill=takes_prefill)
        for message in messages:
            if message["role"] == "user":
                message["content"].sort(key=is_no_result)
        return messages

    def _add_blocks(self, role: str, blocks: list[JsonObject]) -> None:
        """Add blocks to the last message if it has this role, else as a new one."""
        if not blocks:
            return
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += blocks
        else:
            self.messages.append({"role": role, "content": blocks})

    def _place_system_messages(self) -> None:
        """Give system messages that may not stand where they are to the user, with a mark.

        They may stand after a message of the user, and before one of the model or at the end.
        """
        written = self.messages
        self.messages = []
        for position, message in enumerate(written):
            role = message["role"]
            if role == "system" and not self._may_stand(written, position):
                role = "user"
                mark_system_texts(message["content"])
            self._add_blocks(role, message["content"])

    def _may_stand(self, written: list[JsonObject], position: int) -> bool:
        """Return whether a system message may stay where it is."""
        if not self._takes_system_messages or not self.messages:
            return False
        if any(block["type"] != "text" for block in written[position]["content"]):
            return False
        next_roles = [message["role"] for message in written[position + 1 : position + 2]]
        return self.messages[-1]["role"] == "user" and next_roles != ["user"]

    # --- the model's messages ---------------------------------------------------------------------
    def _convert_answer(self, message: JsonObject, path: str) -> list[JsonObject]:
        """Return the blocks of one of the model's messages: thinking, text and calls."""
        blocks = convert_details(message.get("reasoning_details"))
        blocks += convert_plain_message(message, path)
        if message.get("content") is None:
            blocks += make_text_blocks(message.get("refusal"))
        for call in message.get("tool_calls") or ():
            blocks.append(self._convert_call(call))
        if message.get("function_call"):
            call_id = f"call_{len(self._ids)}"
            self._function_ids.append(call_id)
            blocks.append(self._convert_call({"id": call_id, "function": message["function_call"]}))
        return blocks

    def _convert_call(self, call: JsonObject) -> JsonObject:
        """Return a call as a block."""
        function = call.get("function") or call.get("custom") or {}
        arguments = function.get("arguments", function.get("input"))
        block: JsonObject = {
            "type": "tool_use",
            "id": self._convert_id(call["id"]),
            "name": function.get("name"),
            "input": parse_arguments(arguments),
        }
        if call.get(MARK_FIELD):
            block[MARK_FIELD] = call[MARK_FIELD]
        return block

    def _convert_result(self, message: JsonObject, path: str) -> JsonObject:
        """Return the result of a call as a block."""
        call_id = message.get("tool_call_id")
        if call_id is None:  # OpenAI's old form names the function instead
            call_id = self._function_ids.pop(0) if self._function_ids else "call_0"
        block: JsonObject = {"type": "tool_result", "tool_use_id": self._convert_id(call_id)}
        content = message.get("content")
        if isinstance(content, str):
            if content.strip():
                block["content"] = content
        elif blocks := convert_content(content, f"{path}.content"):
            block["content"] = blocks
        if message.get("is_error") is True:
            block["is_error"] = True
        if message.get(MARK_FIELD):
            block[MARK_FIELD] = message[MARK_FIELD]
        return block

    def _convert_id(self, call_id: str) -> str:
        """Return the id of a call in the characters that Anthropic takes; equal ones stay equal."""
        known = self._ids.get(call_id)
        if known is not None:
            return known
        converted = FOREIGN_ID_CHARS.sub("_", call_id) or "call"
        while converted in self._taken_ids:
            converted += "_"
        self._ids[call_id] = converted
        self._taken_ids.add(converted)
        return converted


def convert_plain_message(message: JsonObject, path: str) -> list[JsonObject]:
    """Return the blocks of a message's content; a cache mark of the message is on the last."""
    blocks = convert_content(message.get("content"), f"{path}.content")
    if blocks and message.get(MARK_FIELD):
        blocks[-1].setdefault(MARK_FIELD, message[MARK_FIELD])
    return blocks


def convert_details(details: object) -> list[JsonObject]:
    """Return the blocks of Anthropic's own thinking; thinking without a signature is left out."""
    if not isinstance(details, list):
        return []
    blocks: list[JsonObject] = []
    for detail in details:
        if not isinstance(detail, dict) or detail.get("format") not in (THINKING_FORMAT, None):
            continue
        if detail.get("type") == "reasoning.encrypted" and detail.get("data"):
            blocks.append({"type": "redacted_thinking", "data": detail["data"]})
        elif detail.get("type") == "reasoning.text" and detail.get("signature"):
            text = detail.get("text") or ""
            block = {"type": "thinking", "thinking": text, "signature": detail["signature"]}
            blocks.append(block)
    return blocks


def parse_arguments(arguments: object) -> JsonObject:
    """Return the arguments of a call as an object; another text stands in its field `arguments`.

    JSON that is nearly right is mended, in bounded time.
    """
    if isinstance(arguments, dict):
        return arguments
    if not isinstance(arguments, str) or not arguments.strip():
        return {}
    try:
        value = read_json(arguments.encode("utf-8", "replace"))
    except ValueError:
        value = find_only_reading(arguments, read_object, may_be_cut=True)
    return value if isinstance(value, dict) else {RAW_ARGUMENTS: arguments}


def read_object(value: object) -> JsonObject | None:
    """Return the value if it is an object that JSON can have."""
    if not isinstance(value, dict):
        return None
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return None
    return value


def is_no_result(block: JsonObject) -> bool:
    """Return whether a block is no result of a call: results are sorted before others."""
    return bool(block["type"] != "tool_result")


def make_user_message(text: str) -> JsonObject:
    """Return a message of the user with this text."""
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def mark_system_texts(blocks: list[JsonObject]) -> None:
    """Mark the texts of a system message that the user's message will hold, in place."""
    for block in blocks:
        if block["type"] == "text":
            block["text"] = f"{SYSTEM_MARK}{block['text']}"


def end_with_answer(messages: list[JsonObject], *, takes_prefill: bool) -> None:
    """Make a conversation that ends with the model's message one that Anthropic takes, in place.

    Some models go on with that message, which may not end in white space; others need a message of
    the user.
    """
    last_block = messages[-1]["content"][-1]
    if not takes_prefill:
        messages.append(make_user_message(CONTINUATION_TEXT))
    elif last_block["type"] == "text":
        last_block["text"] = last_block["text"].rstrip()


def list_called_names(messages: Sequence[JsonObject]) -> list[str]:
    """Return the names of the tools that were called, each once."""
    blocks = (block for message in messages for block in message["content"])
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


def has_unthought_call(messages: Sequence[JsonObject]) -> bool:
    """Return whether a call of the running turn has no thinking before it in its message.

    With a budget of thinking, Anthropic refuses such messages.
    """
    for message in reversed(messages):
        if message["role"] == "user" and message["content"][0]["type"] != "tool_result":
            return False
        if message["role"] == "assistant":
            kinds = [block["type"] for block in message["content"]]
            if "tool_use" in kinds and "thinking" not in kinds[0]:
                return True
    return False
