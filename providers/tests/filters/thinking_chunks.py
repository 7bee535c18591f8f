"""Chunks of an answer with thinking, and what filters make of them."""

import copy
from typing import Any

from providers.filters.answer_folder import fold_answer
from providers.filters.filter_pipeline import Filter
from providers.protocol.chunks import Chunk

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def make_chunk(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> Chunk:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**HEAD, "choices": [choice], **more}


def run_filters(chunks: list[Chunk], *steps: Filter) -> list[Chunk]:
    out = copy.deepcopy(chunks)
    for step in steps:
        out = step.filter_chunks(out)
    return out


def list_deltas(chunks: list[Chunk]) -> list[Any]:
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


def fold_choices(chunks: list[Chunk]) -> list[Any]:
    choices: list[Any] = fold_answer(copy.deepcopy(chunks))["choices"]
    return choices
