"""Streams and whole answers that are made to conform, for the tests of their parts."""

import copy
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from providers.filters.conform import StreamConformer
from providers.protocol.chunks import Chunk

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=60)
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def make_chunk(delta: Any, finish: Any = None, index: Any = 0, **more: Any) -> Chunk:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish}], **more}


def conform_stream(chunks: list[Chunk]) -> list[Chunk]:
    conformer = StreamConformer()
    outputs = [conformer.conform_chunk(chunk) for chunk in copy.deepcopy(chunks)]
    return [chunk for chunk in outputs if chunk is not None]


def conform_deltas(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in conform_stream(chunks) for choice in chunk["choices"]]


def join_message(chunks: list[Chunk]) -> Any:
    """The message that OpenAI's own client puts together, each chunk checked against the official
    schema.
    """
    state = ChatCompletionStreamState()
    for chunk in chunks:
        list(state.handle_chunk(ChatCompletionChunk.model_validate(chunk)))
    return state.get_final_completion().choices[0].message


def make_answer(message: dict[str, Any], **choice: Any) -> Chunk:
    return {
        "id": "u",
        "created": 1,
        "model": "m",
        "object": "chat.completion",
        "choices": [{"message": message, **choice}],
    }


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "stop"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "index",
                    "delta",
                    "message",
                    "finish_reason",
                    "tool_calls",
                    "function",
                    "id",
                    "role",
                    "name",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
