"""Conversations of the shapes that clients send, made up by a random generator.

A conversation is a chat body's list of messages: instructions, texts and parts, images, calls with
their results, signed and redacted thinking.
"""

import json
import random
from typing import Any

from providers.protocol.json_types import JsonObject

FORMAT = {"format": "anthropic-claude-v1"}
WORDS = (
    "Bonjour",
    "你好",
    "a\nb",
    "😀 smile",
    '"quoted"',
    "{json}",
    "<tag>",
    "C:\\dir",
    "123",
    "é",
)
IDS = ("call_{}", "toolu_{}", "chatcmpl-tool-{}")


class ConversationMaker:
    """A generator of conversations; equal seeds make equal ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = 0

    def make_conversation(self) -> list[JsonObject]:
        """Return the messages of a conversation that ends with the user or a tool."""
        roll = self._random
        messages = [self._make_system() for _ in range(roll.choice((0, 1, 1, 2)))]
        for _ in range(roll.randint(1, 4)):
            messages += [self._make_user() for _ in range(roll.choice((1, 1, 1, 2)))]
            if roll.random() < 0.2:
                messages.append(self._make_system())
            for _ in range(roll.choice((0, 0, 1, 2))):
                messages += self._make_calls()
            messages.append({"role": "assistant", "content": self._make_text()} | self._think())
        messages.append(self._make_user())
        if roll.random() < 0.3:
            messages += self._make_calls()
        return messages

    def make_message(self) -> list[JsonObject]:
        """Return the content blocks of one answer of Anthropic: thinking, texts, calls."""
        roll = self._random
        blocks = [self._make_thought() for _ in range(roll.choice((0, 1, 2)))]
        if roll.random() < 0.8:
            blocks.append({"type": "text", "text": self._make_text()})
        for _ in range(roll.choice((0, 0, 1, 3))):
            call = {"type": "tool_use", "id": self._make_id(), "name": "f"}
            blocks.append(call | {"input": self._make_arguments()})
        return blocks

    def make_usage(self) -> JsonObject:
        """Return the usage of one answer."""
        names = ("input_tokens", "output_tokens", "cache_read_input_tokens")
        usage: JsonObject = {name: self._random.randint(0, 9_999) for name in names}
        if self._random.random() < 0.5:
            usage["cache_creation_input_tokens"] = self._random.randint(0, 99)
        return usage

    def cut(self, data: bytes) -> list[bytes]:
        """Return the data in pieces of random lengths."""
        pieces = []
        while data:
            length = self._random.randint(1, 60)
            pieces.append(data[:length])
            data = data[length:]
        return pieces

    # --- parts of them ----------------------------------------------------------------------------
    def _make_text(self) -> str:
        self._count += 1
        return (
            f"{' '.join(self._random.choices(WORDS, k=self._random.randint(1, 6)))} {self._count}"
        )

    def _make_thought(self) -> JsonObject:
        """Return a block of thinking: with its text, without it, or redacted."""
        return self._random.choice(
            (
                {"type": "thinking", "thinking": self._make_text(), "signature": "s+/="},
                {"type": "thinking", "thinking": "", "signature": "empty=="},
                {"type": "redacted_thinking", "data": "d+/=="},
            )
        )

    def _make_id(self) -> str:
        self._count += 1
        return self._random.choice(IDS).format(self._count)

    def _make_arguments(self) -> JsonObject:
        values: list[Any] = [1, 2.5, True, None, self._make_text(), [1, "x"], {"deep": {"er": []}}]
        return {
            f"a{index}": self._random.choice(values) for index in range(self._random.randint(0, 4))
        }

    def _make_system(self) -> JsonObject:
        role = self._random.choice(("system", "developer"))
        return {"role": role, "content": self._make_text()}

    def _make_user(self) -> JsonObject:
        if self._random.random() < 0.5:
            return {"role": "user", "content": self._make_text()}
        parts: list[JsonObject] = [{"type": "text", "text": self._make_text()}]
        if self._random.random() < 0.6:
            self._count += 1
            url = self._random.choice(
                (f"https://i.example/{self._count}.png", f"data:image/png;base64,{self._count:08}")
            )
            parts.append({"type": "image_url", "image_url": {"url": url}})
        parts.append({"type": "text", "text": self._make_text()})
        return {"role": "user", "content": parts}

    def _make_calls(self) -> list[JsonObject]:
        """Return a message of the model with calls, and the messages with their results."""
        ids = [self._make_id() for _ in range(self._random.randint(1, 3))]
        calls = [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": "f", "arguments": json.dumps(self._make_arguments())},
            }
            for call_id in ids
        ]
        content = self._random.choice((None, "", self._make_text()))
        results = [
            {"role": "tool", "tool_call_id": call_id, "content": self._make_text()}
            for call_id in ids
        ]
        message = {"role": "assistant", "content": content, "tool_calls": calls}
        return [message | self._think(), *results]

    def _think(self) -> JsonObject:
        if self._random.random() < 0.5:
            return {}
        text = self._make_text()
        details = [
            {"type": "reasoning.text", "text": text, "signature": f"sig{text}=="} | FORMAT,
            {"type": "reasoning.encrypted", "data": f"data{self._count}=="} | FORMAT,
        ]
        return {"reasoning_content": text, "reasoning_details": details}
