"""Chunks rendered as messages, streamed and whole."""

import copy
import json
from collections.abc import Iterable, Sequence

from api.messages.output.message_renderer import MessageRenderer
from api.messages.request.answer_wishes import AnswerWishes
from api.tests.messages.message_events import build_streamed_message, read_events
from providers.filters.answer_folder import fold_answer
from providers.filters.conform import StreamConformer
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT, ChatRequest
from providers.protocol.trace import Trace
from providers.protocol.usage_meter import TokenUsage

SHOWN = AnswerWishes(shows_thinking=True)
COUNTS = TokenUsage(prompt=100, completion=7, reasoning=2, cached=60, cache_write=30)


def make_renderer(wishes: AnswerWishes = SHOWN, *, stream: bool = True) -> MessageRenderer:
    body: JsonObject = {"messages": []}
    request = ChatRequest("0" * 32, CHAT, "m", body, stream=stream)
    trace = Trace(request)
    trace.meter.counted = COUNTS
    return MessageRenderer(trace, wishes)


def conform_chunks(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Return chunks as adapters give them."""
    conformer = StreamConformer()
    conformed = (conformer.conform_chunk(chunk) for chunk in copy.deepcopy(list(chunks)))
    return [chunk for chunk in conformed if chunk is not None]


def stream_chunks(
    chunks: Sequence[Chunk], wishes: AnswerWishes = SHOWN, *, batch_size: int = 1
) -> list[JsonObject]:
    """Return the events of the chunks, so many in a batch."""
    renderer = make_renderer(wishes)
    body = b"".join(
        renderer.render_batch(list(chunks[start : start + batch_size]))
        for start in range(0, len(chunks), batch_size)
    )
    return read_events(body + renderer.render_end())


def stream_message(chunks: Sequence[Chunk], wishes: AnswerWishes = SHOWN) -> JsonObject:
    return build_streamed_message(stream_chunks(conform_chunks(chunks), wishes))


def whole_message(chunks: Sequence[Chunk], wishes: AnswerWishes = SHOWN) -> JsonObject:
    """Return the message of the whole answer that the chunks make up."""
    answer = fold_answer(conform_chunks(chunks))
    message: JsonObject = json.loads(make_renderer(wishes, stream=False).render_whole(answer))
    return message
