"""A message of the model in a Messages body, as a chat message of the assistant."""

import orjson

from api.messages.request.block_parts import (
    MARK,
    describe_block,
    join_texts,
    make_text_part,
)
from api.messages.sealed_content import FORMAT, is_own_thinking, open_fields
from conversations.messages.opaque_text import decode_opaque_text
from providers.protocol.dialect import CALL_EXTRA_FIELDS
from providers.protocol.json_types import JsonObject


class AnswerTurn:
    """The parts of one message of the model."""

    def __init__(self) -> None:
        self._parts: list[JsonObject] = []
        self._has_citations = False
        self._calls: list[JsonObject] = []
        self._thinking: list[str] = []
        self._details: list[JsonObject] = []
        self._call_extras: JsonObject = {}  # by the ids of calls
        self._mark: JsonObject | None = None  # of a call

    def add_content(self, content: str | list[JsonObject]) -> None:
        """Add the content of a message."""
        if isinstance(content, str):
            self._parts.append(make_text_part(content))
            return
        for block in content:
            self._add_block(block)

    def build_message(self) -> JsonObject:
        """Return the chat message; without text and calls its content is empty."""
        message: JsonObject = {"role": "assistant", "content": self._build_content()}
        if self._thinking:
            message["reasoning_content"] = "".join(self._thinking)
        if self._details:
            message["reasoning_details"] = self._details
        if self._calls:
            message["tool_calls"] = [
                call | self._call_extras.get(call["id"], {}) for call in self._calls
            ]
        if self._mark:
            message[MARK] = self._mark
        return message

    def _build_content(self) -> str | list[JsonObject] | None:
        """Return the text; as parts when one has a cache mark, None beside calls alone."""
        if any(MARK in part for part in self._parts):
            return self._parts
        if not self._parts:
            return None if self._calls else ""
        texts = [part["text"] for part in self._parts]
        # a text with citations is divided in the middle of sentences
        return "".join(texts) if self._has_citations else join_texts(texts)

    def _add_block(self, block: JsonObject) -> None:
        """Add one content block."""
        kind = block["type"]
        if kind == "thinking":
            self._add_thinking(block)
        elif kind == "redacted_thinking":
            self._add_redacted(block)
        elif kind == "tool_use":
            self._calls.append(make_call(block))
            self._mark = block.get(MARK) or self._mark
        elif text := block["text"] if kind == "text" else describe_block(block):
            self._has_citations = self._has_citations or bool(block.get("citations"))
            part = make_text_part(text)
            self._parts.append(part | {MARK: block[MARK]} if block.get(MARK) else part)

    def _add_thinking(self, block: JsonObject) -> None:
        """Add a block of thinking: its text, and the signature if it is of Anthropic."""
        signature = block.get("signature")
        text = block["thinking"]
        if is_own_thinking(block):
            text = text or decode_opaque_text(signature)
        elif signature:
            detail = {"type": "reasoning.text", "text": text, "signature": signature}
            self._add_detail(detail)
        if text:
            self._thinking.append(text)

    def _add_redacted(self, block: JsonObject) -> None:
        """Add redacted thinking; in a block of ours are fields of other upstreams."""
        if not is_own_thinking(block):
            self._add_detail({"type": "reasoning.encrypted", "data": block["data"]})
            return
        fields = open_fields(block["data"])
        details = fields.get("details")
        if isinstance(details, list):
            self._details += details
        calls = fields.get("calls")
        if not isinstance(calls, dict):
            return
        for call_id, extras in calls.items():
            if isinstance(extras, dict) and extras.keys() <= set(CALL_EXTRA_FIELDS):
                self._call_extras[call_id] = extras

    def _add_detail(self, detail: JsonObject) -> None:
        """Add an entry of `reasoning_details` of Anthropic's format."""
        self._details.append(detail | {"format": FORMAT, "index": len(self._details)})


def make_call(block: JsonObject) -> JsonObject:
    """Return a call in the form of a chat message."""
    function = {"name": block["name"], "arguments": orjson.dumps(block["input"]).decode()}
    return {"id": block["id"], "type": "function", "function": function}
