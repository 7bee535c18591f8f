"""Answers that pass through filters on their way up: chunks -> chunks, and chunks -> one whole answer. No I/O.

A filter is an object with `chunks(batch) -> batch`, made for one answer. Whatever the upstream sent is taken as a
stream, filtered, and folded again when the caller wants it whole: so both are the same by construction.
"""

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from providers.chat import Batches, Chunk
from providers.filters import conform


class Filter(Protocol):
    def chunks(self, batch: list[Chunk]) -> list[Chunk]:
        """What goes on of this batch. Everything held back must have gone before a choice's finish reason does."""


async def shaped(batches: Batches, filters: Sequence[Filter], *, stream: bool) -> Batches:
    """The answer through `filters`, in their order; whole unless `stream`."""
    collected: list[Chunk] = []
    async with aclosing(batches):
        async for batch in batches:
            if batch[0].get("object") == "chat.completion":
                batch = conform.as_stream(batch[0])
            for step in filters:
                batch = step.chunks(batch)
            if not stream:
                collected += batch
            elif batch:
                yield batch
    if not stream:
        yield [fold(collected)]


def fold(chunks: Iterable[Chunk]) -> Chunk:
    """One whole `chat.completion` of a stream's chunks: texts and arguments joined, of other fields the last wins."""
    whole: Chunk = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        whole |= {name: value for name, value in chunk.items() if name != "choices" and value is not None}
        for choice in chunk["choices"]:
            index = choice["index"]
            known = choices.setdefault(index, {"index": index, "message": {}, "logprobs": None, "finish_reason": None})
            add_delta(known["message"], choice.get("delta") or {})
            add_logprobs(known, choice.get("logprobs"))
            known |= {name: value for name, value in choice.items() if name not in FOLDED and value is not None}
    for choice in choices.values():
        message = choice["message"]
        if "tool_calls" in message:
            message["tool_calls"] = [message["tool_calls"][index] for index in sorted(message["tool_calls"])]
            for call in message["tool_calls"]:
                del call["index"]
    whole |= {"object": "chat.completion", "choices": [choices[index] for index in sorted(choices)]}
    return conform.whole(whole)


def fold_text(chunks: Iterable[Chunk]) -> Chunk:
    """One whole `text_completion` of a stream's chunks: texts joined, of other fields the last wins."""
    whole: Chunk = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        whole |= {name: value for name, value in chunk.items() if name != "choices" and value is not None}
        for choice in chunk["choices"]:
            known = choices.setdefault(choice["index"], {"text": "", "logprobs": None, "finish_reason": None})
            known["text"] += choice.get("text") or ""
            add_logprobs(known, choice.get("logprobs"))
            known |= {name: value for name, value in choice.items() if name not in FOLDED_TEXT and value is not None}
    return whole | {"choices": [choices[index] for index in sorted(choices)]}


FOLDED_TEXT = frozenset(("text", "logprobs"))
FOLDED = frozenset(("index", "delta", "logprobs"))
JOINED = frozenset(("content", "reasoning_content", "reasoning", "refusal"))


def add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            calls = message.setdefault("tool_calls", {})
            for part in value:
                add_call(calls, part)
        elif name in JOINED and isinstance(value, str) and isinstance(message.get(name), str):
            message[name] += value
        elif value is not None or name not in message:
            message[name] = value


def add_call(calls: dict[int, dict[str, Any]], part: dict[str, Any]) -> None:
    function = part.get("function") or {}
    call = calls.get(part["index"])
    if call is None:
        calls[part["index"]] = part | {"function": dict(function)}
    else:
        call["function"]["arguments"] += function.get("arguments") or ""


def add_logprobs(choice: dict[str, Any], logprobs: Any) -> None:
    if isinstance(logprobs, dict):
        known = choice["logprobs"] = choice["logprobs"] or {}
        for name, value in logprobs.items():
            known[name] = known[name] + value if isinstance(known.get(name), list) and value else value
