"""Make the answer of an OpenAI-speaking upstream conform to the official schema. No I/O.

Guarantees for the result: every choice has index, delta (or message) and a finish reason of
OpenAI's enum or null; the first delta of a choice has the role, and only it; a choice finishes
once; whole answers carry `refusal` and `logprobs` keys; tool calls are as `native_calls.py` makes
them. Unknown fields are passed on unchanged.
"""

import struct
from base64 import b64decode, b64encode
from typing import Any

from providers.exceptions import ServerFailed
from providers.filters.native_calls import CallParts, whole_calls
from providers.protocol.chunks import Chunk

FINISH_REASONS = frozenset(("stop", "length", "tool_calls", "content_filter", "function_call"))
CUT_REASONS = frozenset(
    ("error", "abort", "insufficient_system_resource")
)  # of OpenRouter, vLLM and DeepSeek: the answer was cut
OTHER_REASONS = {
    "max_tokens": "length",
    "model_length": "length",
    "max_output_tokens": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "safety": "content_filter",
    "refusal": "content_filter",
    "sensitive": "content_filter",
}


def finish_reason(value: Any) -> str | None:
    """Return a reason of OpenAI's enum, or None if there is none or the answer was cut.

    Unknown ones (`eos`, `end_turn`, `stop_sequence` …) mean that the model stopped by itself.
    """
    if not isinstance(value, str) or not value:
        return None
    if value in FINISH_REASONS:
        return value
    value = value.lower()
    if value in CUT_REASONS:
        return None
    return value if value in FINISH_REASONS else OTHER_REASONS.get(value, "stop")


TEXTS = frozenset(("content", "reasoning_content", "reasoning", "refusal"))


def as_text(value: Any) -> str | None:
    """Return the value of a text field as text, or None if it has no text.

    Of a list of parts these are their texts, of a number its digits.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dict):
        value = [value]
    texts = (
        [part.get("text") if isinstance(part, dict) else part for part in value]
        if isinstance(value, list)
        else []
    )
    found = [text for text in texts if isinstance(text, str)]
    return "".join(found) if found else None


def mend_calls(said: dict[str, Any], reason: str | None, *, called: bool) -> str | None:
    """Remove a `function_call` that is not an object, and return the finish reason.

    A reason that names calls becomes "stop" if there are none.
    """
    if not isinstance(said.get("function_call"), dict):
        said.pop("function_call", None)
    return (
        "stop" if reason in CALL_REASONS and not called and "function_call" not in said else reason
    )


CALL_REASONS = ("tool_calls", "function_call")


def as_index(value: Any, otherwise: int) -> int:
    return value if type(value) is int else otherwise


class StreamConformer:
    """The state of one streamed answer.

    `chunk` returns the conforming chunk, or None for one without content.
    """

    __slots__ = ("_called", "_calls", "_chat", "_finished", "_opened")

    def __init__(self, chat: bool = True) -> None:
        self._chat = chat  # else legacy completions: text instead of deltas
        self._opened: set[int] = set()
        self._finished: set[int] = set()
        self._calls: dict[int, CallParts] = {}
        self._called: set[int] = set()  # choices that have calls

    @property
    def finished(self) -> bool:
        """Return whether every choice that began has its finish reason."""
        return bool(self._finished) and self._finished >= self._opened

    @property
    def ended(self) -> int:
        """Return how many choices have their finish reason."""
        return len(self._finished)

    def chunk(self, chunk: Chunk) -> Chunk | None:
        choices = chunk.get("choices")
        if not choices or not isinstance(choices, list):
            chunk["choices"] = []
            return chunk if chunk.get("usage") else None
        kept = [choice for choice in choices if isinstance(choice, dict) and self._choice(choice)]
        if len(kept) != len(choices):
            chunk["choices"] = kept
        return chunk if kept or chunk.get("usage") else None

    def _choice(self, choice: dict[str, Any]) -> bool:
        """Make one choice conform, in place; return False if it must be dropped.

        It is dropped if the choice has finished already.
        """
        index = choice["index"] = as_index(choice.get("index"), 0)
        if index in self._finished:
            return False
        if self._chat:
            self._delta(index, choice)
        elif type(choice.get("text")) is not str:
            choice["text"] = as_text(choice.get("text")) or ""
        self._opened.add(index)
        reason = choice.get("finish_reason")
        choice["finish_reason"] = reason = None if reason is None else finish_reason(reason)
        if reason:
            if reason in CALL_REASONS and index not in self._called:
                choice["finish_reason"] = "stop"
            self._finished.add(index)
        return True

    def _delta(self, index: int, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice["delta"] = {}
        if index not in self._opened:
            choice["delta"] = delta = {
                "content": None,
                **delta,
                "role": delta.get("role") or "assistant",
            }
        elif len(delta) == 1 and type(delta.get("content")) is str:
            return  # nearly every chunk: a piece of text and nothing else
        elif "role" in delta:
            del delta["role"]
        for name, value in delta.items():
            if name in TEXTS and type(value) is not str and value is not None:
                delta[name] = as_text(value)
        if "tool_calls" in delta:
            self._tool_calls(index, delta)
        if "function_call" in delta:
            if isinstance(delta["function_call"], dict):
                self._called.add(index)
            else:
                del delta["function_call"]

    def _tool_calls(self, index: int, delta: dict[str, Any]) -> None:
        calls = self._calls.get(index)
        if calls is None:
            calls = self._calls[index] = CallParts()
        delta["tool_calls"] = calls.take(delta["tool_calls"])
        if calls.told:
            self._called.add(index)
        if not delta["tool_calls"]:
            del delta["tool_calls"]


def whole(answer: Chunk) -> Chunk:
    """Make a whole `chat.completion` conform, in place. Raises ServerFailed if it was cut."""
    answer["object"] = "chat.completion"
    for position, choice in enumerate(answer["choices"]):
        choice["index"] = as_index(choice.get("index"), position)
        choice.setdefault("logprobs", None)
        choice["finish_reason"] = whole_reason(choice.get("finish_reason"))
        message = choice["message"]
        message["role"] = message.get("role") or "assistant"
        message.setdefault("content", None)
        message.setdefault("refusal", None)
        if "tool_calls" in message:
            message["tool_calls"] = whole_calls(message["tool_calls"])
            if not message["tool_calls"]:
                del message["tool_calls"]
        for name in TEXTS & message.keys():
            message[name] = as_text(message[name])
        choice["finish_reason"] = mend_calls(
            message, choice["finish_reason"], called="tool_calls" in message
        )
    return answer


def whole_reason(reason: Any) -> str:
    """Return the finish reason of a whole answer, "stop" if it has none.

    Raises ServerFailed if the reason says that the answer was cut.
    """
    if isinstance(reason, str) and reason.lower() in CUT_REASONS:
        raise ServerFailed("The upstream did not finish its answer.")
    return finish_reason(reason) or "stop"


def embeddings(answer: Chunk, *, as_base64: bool) -> Chunk:
    """Return the vectors in the requested encoding, whatever encoding the upstream sent.

    OpenAI's own clients ask for base64 (little-endian 32-bit floats) and cannot read a list then.
    """
    for item in answer["data"]:
        vector = item.get("embedding")
        if as_base64 and isinstance(vector, list):
            item["embedding"] = b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        elif not as_base64 and isinstance(vector, str):
            raw = b64decode(vector)
            item["embedding"] = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return answer


STREAMED = frozenset(("index", "message", "text", "logprobs", "finish_reason"))


def as_stream(answer: Chunk) -> list[Chunk]:
    """Return a whole answer as the chunks of a stream.

    This is for an upstream that answered with JSON although a stream was requested.
    """
    chat = all("message" in choice for choice in answer["choices"])
    base = {
        name: value for name, value in answer.items() if name not in ("choices", "usage", "object")
    }
    base["object"] = "chat.completion.chunk" if chat else "text_completion"
    chunks: list[Chunk] = []
    for position, choice in enumerate(whole(answer)["choices"] if chat else answer["choices"]):
        head = {
            "index": as_index(choice.get("index"), position),
            "logprobs": choice.get("logprobs"),
        }
        said: dict[str, Any] = {"text": choice.get("text") or ""}
        if chat:
            message = dict(choice["message"])
            for index, call in enumerate(message.get("tool_calls") or ()):
                call["index"] = index
            said = {"delta": message}
        nothing: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        reason = whole_reason(choice.get("finish_reason"))
        chunks.append(base | {"choices": [head | said | {"finish_reason": None}]})
        more = {name: value for name, value in choice.items() if name not in STREAMED}
        chunks.append(
            base
            | {"choices": [more | head | nothing | {"logprobs": None, "finish_reason": reason}]}
        )
    if answer.get("usage"):
        chunks.append(base | {"choices": [], "usage": answer["usage"]})
    return chunks
