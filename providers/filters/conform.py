"""Make the answer of an OpenAI-speaking upstream conform to the official schema. No I/O.

Guarantees for the result: every choice has index, delta (or message) and a finish reason of
OpenAI's enum or null; the first delta of a choice has the role, and only it; a choice finishes
once; whole answers carry `refusal` and `logprobs` keys; tool calls are as `native_calls.py` makes
them, and the finish reason names them. Unknown fields are passed on unchanged.
"""

import struct
from base64 import b64decode, b64encode

from providers.filters.finish_reasons import (
    choose_call_reason,
    normalize_final_reason,
    normalize_finish_reason,
)
from providers.filters.native_calls import CallConformer, conform_whole_calls
from providers.filters.reported_usage import lift_usage
from providers.filters.thinking_fields import unify_thinking
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject

TEXT_FIELDS = frozenset(("content", "reasoning_content", "reasoning", "refusal"))
HANDLED_CHOICE_FIELDS = frozenset(("index", "message", "text", "logprobs", "finish_reason"))


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


def find_call_reason(message: JsonObject) -> str:
    """Return the finish reason that a message's calls need, empty without calls.

    A `function_call` that is not an object is removed.
    """
    if not isinstance(message.get("function_call"), dict):
        message.pop("function_call", None)
    if "tool_calls" in message:
        return "tool_calls"
    return "function_call" if "function_call" in message else ""


def as_index(value: object, default: int) -> int:
    """Return the value if it is an index, else the default."""
    return value if type(value) is int else default


class StreamConformer:
    """The state of one streamed answer.

    `conform_chunk` returns the conforming chunk, or None for one without content.
    """

    __slots__ = (
        "_allows_stop_with_calls",
        "_begun_choices",
        "_call_conformers",
        "_call_reasons",
        "_finished_choices",
        "_first_chunk",
        "_is_chat",
    )

    def __init__(self, is_chat: bool = True, *, allows_stop_with_calls: bool = True) -> None:
        self._is_chat = is_chat  # else legacy completions: text instead of deltas
        self._allows_stop_with_calls = allows_stop_with_calls
        self._first_chunk: Chunk = {}  # the last one in which a choice began
        self._begun_choices: set[int] = set()
        self._finished_choices: set[int] = set()
        self._call_conformers: dict[int, CallConformer] = {}
        self._call_reasons: dict[int, str] = {}  # the reasons that the calls of choices need

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
            if isinstance(choice, dict) and self._conform_choice(choice, chunk)
        ]
        if len(open_choices) != len(choices):
            chunk["choices"] = open_choices
        return chunk if open_choices or chunk.get("usage") else None

    def finish_calls(self) -> Chunk | None:
        """Return the last chunk of a stream that has said it is over, but not why.

        Returns None unless all that the choices lack is the reason that their complete calls need.
        """
        open_choices = sorted(self._begun_choices - self._finished_choices)
        conformers = [self._call_conformers.get(index) for index in open_choices]
        choices: list[JsonObject] = []
        for index, conformer in zip(open_choices, conformers, strict=True):
            if conformer is None or not conformer.has_complete_calls:
                return None
            choices.append({"index": index, "delta": {}, "finish_reason": "tool_calls"})
        if not choices:
            return None
        chunk = self._first_chunk | {"choices": choices}
        chunk.pop("usage", None)
        return self.conform_chunk(chunk)

    def _conform_choice(self, choice: JsonObject, chunk: Chunk) -> bool:
        """Make one choice conform, in place; return False if it has finished already."""
        index = choice["index"] = as_index(choice.get("index"), 0)
        if index in self._finished_choices:
            return False
        if self._is_chat:
            self._conform_delta(index, choice, chunk)
        elif type(choice.get("text")) is not str:
            choice["text"] = as_text(choice.get("text")) or ""
        self._begun_choices.add(index)
        reason = choice.get("finish_reason")
        if reason is not None:
            reason = normalize_finish_reason(reason)
        if reason:
            reason = self._finish_choice(index, choice, reason)
            lift_usage(chunk)
        choice["finish_reason"] = reason
        return True

    def _finish_choice(self, index: int, choice: JsonObject, reason: str) -> str | None:
        """Complete the calls of a choice that ends here, and return its finish reason."""
        self._finished_choices.add(index)
        conformer = self._call_conformers.get(index)
        if conformer and (parts := conformer.complete_calls()):
            delta = choice["delta"]
            choice["delta"] = delta | {"tool_calls": [*delta.get("tool_calls", ()), *parts]}
        call_reason = self._call_reasons.get(index, "")
        return choose_call_reason(reason, call_reason, allows_stop=self._allows_stop_with_calls)

    def _conform_delta(self, index: int, choice: JsonObject, chunk: Chunk) -> None:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice["delta"] = self._read_message(index, choice)
        if index not in self._begun_choices:
            self._first_chunk = chunk
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
        if "message" in choice:  # Perplexity repeats there all that was said
            del choice["message"]
        for name, value in delta.items():
            if name in TEXT_FIELDS and type(value) is not str and value is not None:
                delta[name] = as_text(value)
        if "tool_calls" in delta:
            self._conform_tool_calls(index, delta)
        if "function_call" in delta:
            if isinstance(delta["function_call"], dict):
                self._call_reasons.setdefault(index, "function_call")
            else:
                del delta["function_call"]

    def _read_message(self, index: int, choice: JsonObject) -> JsonObject:
        """Return the delta of a choice that came without one: its whole message, if it is new."""
        message = choice.get("message")
        if index in self._begun_choices or not isinstance(message, dict):
            return {}
        return dict(message)

    def _conform_tool_calls(self, index: int, delta: JsonObject) -> None:
        conformer = self._call_conformers.get(index)
        if conformer is None:
            conformer = self._call_conformers[index] = CallConformer()
        delta["tool_calls"] = conformer.conform_parts(delta["tool_calls"])
        if conformer.sent_count:
            self._call_reasons[index] = "tool_calls"
        if not delta["tool_calls"]:
            del delta["tool_calls"]


def conform_answer(answer: Chunk, *, allows_stop_with_calls: bool = True) -> Chunk:
    """Make a whole `chat.completion` conform, in place. Raises ServerFailed if it was cut.

    Unless it `allows_stop_with_calls`, the finish reason names the calls that there are.
    """
    answer["object"] = "chat.completion"
    lift_usage(answer)
    for position, choice in enumerate(answer["choices"]):
        choice["index"] = as_index(choice.get("index"), position)
        choice.setdefault("logprobs", None)
        reason = normalize_final_reason(choice.get("finish_reason"))
        message = choice["message"]
        conform_message(message)
        choice["finish_reason"] = choose_call_reason(
            reason, find_call_reason(message), allows_stop=allows_stop_with_calls
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
    delta = dict(message)
    if calls := message.get("tool_calls"):
        delta["tool_calls"] = [{**call, "index": index} for index, call in enumerate(calls)]
    return delta
