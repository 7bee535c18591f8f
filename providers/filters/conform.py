"""Make the answer of an OpenAI-speaking upstream conform to the official schema. No I/O.

Guarantees for the result: every choice has index, delta (or message) and a finish reason of
OpenAI's enum or null; the first delta of a choice has the role, and only it; a choice finishes
once; whole answers carry `refusal` and `logprobs` keys; tool calls are as `native_calls.py` makes
them. Unknown fields are passed on unchanged.
"""

import struct
from base64 import b64decode, b64encode

from providers.exceptions import ServerFailed
from providers.filters.native_calls import CallConformer, conform_whole_calls
from providers.filters.thinking_fields import unify_thinking
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject

FINISH_REASONS = frozenset(("stop", "length", "tool_calls", "content_filter", "function_call"))
CALL_REASONS = ("tool_calls", "function_call")
# of OpenRouter, vLLM and DeepSeek: the answer was cut
CUT_REASONS = frozenset(("error", "abort", "insufficient_system_resource"))
REASON_TRANSLATIONS = {
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


TEXT_FIELDS = frozenset(("content", "reasoning_content", "reasoning", "refusal"))
HANDLED_CHOICE_FIELDS = frozenset(("index", "message", "text", "logprobs", "finish_reason"))


def normalize_finish_reason(value: object) -> str | None:
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
    if value in FINISH_REASONS:
        return value
    return REASON_TRANSLATIONS.get(value, "stop")


def as_text(value: object) -> str | None:
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
    if not isinstance(value, list):
        return None
    candidates = [part.get("text") if isinstance(part, dict) else part for part in value]
    texts = [text for text in candidates if isinstance(text, str)]
    return "".join(texts) if texts else None


def remove_invalid_function_call(
    message: JsonObject, reason: str | None, *, has_calls: bool
) -> str | None:
    """Remove a `function_call` that is not an object, and return the finish reason.

    A reason that names calls becomes "stop" if there are none.
    """
    if not isinstance(message.get("function_call"), dict):
        message.pop("function_call", None)
    has_calls = has_calls or "function_call" in message
    if reason in CALL_REASONS and not has_calls:
        return "stop"
    return reason


def as_index(value: object, default: int) -> int:
    """Return the value if it is an index, else the default."""
    return value if type(value) is int else default


class StreamConformer:
    """The state of one streamed answer.

    `conform_chunk` returns the conforming chunk, or None for one without content.
    """

    __slots__ = (
        "_begun_choices",
        "_call_conformers",
        "_choices_with_calls",
        "_finished_choices",
        "_is_chat",
    )

    def __init__(self, is_chat: bool = True) -> None:
        self._is_chat = is_chat  # else legacy completions: text instead of deltas
        self._begun_choices: set[int] = set()
        self._finished_choices: set[int] = set()
        self._call_conformers: dict[int, CallConformer] = {}
        self._choices_with_calls: set[int] = set()  # choices that have calls

    @property
    def is_finished(self) -> bool:
        """Return whether every choice that began has its finish reason."""
        return bool(self._finished_choices) and self._finished_choices >= self._begun_choices

    @property
    def finished_count(self) -> int:
        """Return how many choices have their finish reason."""
        return len(self._finished_choices)

    def conform_chunk(self, chunk: Chunk) -> Chunk | None:
        choices = chunk.get("choices")
        if not choices or not isinstance(choices, list):
            chunk["choices"] = []
            return chunk if chunk.get("usage") else None
        open_choices = [
            choice
            for choice in choices
            if isinstance(choice, dict) and self._conform_choice(choice)
        ]
        if len(open_choices) != len(choices):
            chunk["choices"] = open_choices
        return chunk if open_choices or chunk.get("usage") else None

    def _conform_choice(self, choice: JsonObject) -> bool:
        """Make one choice conform, in place; return False if it has finished already."""
        index = choice["index"] = as_index(choice.get("index"), 0)
        if index in self._finished_choices:
            return False
        if self._is_chat:
            self._conform_delta(index, choice)
        elif type(choice.get("text")) is not str:
            choice["text"] = as_text(choice.get("text")) or ""
        self._begun_choices.add(index)
        reason = choice.get("finish_reason")
        if reason is not None:
            reason = normalize_finish_reason(reason)
        if reason:
            if reason in CALL_REASONS and index not in self._choices_with_calls:
                reason = "stop"
            self._finished_choices.add(index)
        choice["finish_reason"] = reason
        return True

    def _conform_delta(self, index: int, choice: JsonObject) -> None:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice["delta"] = {}
        if index not in self._begun_choices:
            choice["delta"] = delta = {
                "content": None,
                **delta,
                "role": delta.get("role") or "assistant",
            }
        elif len(delta) == 1 and type(delta.get("content")) is str:
            return  # nearly every chunk: a piece of text and nothing else
        elif "role" in delta:
            del delta["role"]
        unify_thinking(delta)
        for name, value in delta.items():
            if name in TEXT_FIELDS and type(value) is not str and value is not None:
                delta[name] = as_text(value)
        if "tool_calls" in delta:
            self._conform_tool_calls(index, delta)
        if "function_call" in delta:
            if isinstance(delta["function_call"], dict):
                self._choices_with_calls.add(index)
            else:
                del delta["function_call"]

    def _conform_tool_calls(self, index: int, delta: JsonObject) -> None:
        conformer = self._call_conformers.get(index)
        if conformer is None:
            conformer = self._call_conformers[index] = CallConformer()
        delta["tool_calls"] = conformer.conform_parts(delta["tool_calls"])
        if conformer.sent_count:
            self._choices_with_calls.add(index)
        if not delta["tool_calls"]:
            del delta["tool_calls"]


def conform_answer(answer: Chunk) -> Chunk:
    """Make a whole `chat.completion` conform, in place. Raises ServerFailed if it was cut."""
    answer["object"] = "chat.completion"
    for position, choice in enumerate(answer["choices"]):
        choice["index"] = as_index(choice.get("index"), position)
        choice.setdefault("logprobs", None)
        reason = normalize_final_reason(choice.get("finish_reason"))
        message = choice["message"]
        conform_message(message)
        choice["finish_reason"] = remove_invalid_function_call(
            message, reason, has_calls="tool_calls" in message
        )
    return answer


def conform_message(message: JsonObject) -> None:
    """Make the message of a whole answer conform, in place, but for its `function_call`."""
    message["role"] = message.get("role") or "assistant"
    message.setdefault("content", None)
    message.setdefault("refusal", None)
    if "tool_calls" in message:
        message["tool_calls"] = conform_whole_calls(message["tool_calls"])
        if not message["tool_calls"]:
            del message["tool_calls"]
    unify_thinking(message)
    for name in TEXT_FIELDS & message.keys():
        value = message[name]
        if type(value) is not str and value is not None:
            message[name] = as_text(value)


def normalize_final_reason(reason: object) -> str:
    """Return the finish reason of a whole answer, "stop" if it has none.

    Raises ServerFailed if the reason says that the answer was cut.
    """
    if isinstance(reason, str) and reason.lower() in CUT_REASONS:
        raise ServerFailed("The upstream did not finish its answer.")
    return normalize_finish_reason(reason) or "stop"


def conform_embeddings(answer: Chunk, *, as_base64: bool) -> Chunk:
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


def convert_whole_answer(batch: list[Chunk]) -> list[Chunk]:
    """Return a batch that is one whole `chat.completion` as chunks, any other as it is."""
    if batch[0].get("object") != "chat.completion":
        return batch
    return convert_to_chunks(batch[0])


def convert_to_chunks(answer: Chunk) -> list[Chunk]:
    """Return a whole answer as the chunks of a stream.

    This is for an upstream that answered with JSON although a stream was requested.
    """
    is_chat = all("message" in choice for choice in answer["choices"])
    if is_chat:
        answer = conform_answer(answer)
    head = {
        name: value for name, value in answer.items() if name not in ("choices", "usage", "object")
    }
    head["object"] = "chat.completion.chunk" if is_chat else "text_completion"
    chunks: list[Chunk] = []
    for position, choice in enumerate(answer["choices"]):
        index = as_index(choice.get("index"), position)
        reason = normalize_final_reason(choice.get("finish_reason"))
        content: JsonObject = {"text": choice.get("text") or ""}
        no_content: JsonObject = {"text": ""}
        if is_chat:
            content = {"delta": convert_to_delta(choice["message"])}
            no_content = {"delta": {}}
        content |= {"logprobs": choice.get("logprobs"), "finish_reason": None}
        no_content |= {"logprobs": None, "finish_reason": reason}
        extra = {name: value for name, value in choice.items() if name not in HANDLED_CHOICE_FIELDS}
        chunks.append(head | {"choices": [{"index": index} | content]})
        chunks.append(head | {"choices": [extra | {"index": index} | no_content]})
    if answer.get("usage"):
        chunks.append(head | {"choices": [], "usage": answer["usage"]})
    return chunks


def convert_to_delta(message: JsonObject) -> JsonObject:
    """Return the message of a whole answer as the one delta of a stream."""
    for index, call in enumerate(message.get("tool_calls") or ()):
        call["index"] = index
    return dict(message)
