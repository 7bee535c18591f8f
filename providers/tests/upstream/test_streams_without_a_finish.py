"""Streams that end with [DONE] and without a finish reason."""

import orjson
import pytest

from providers.exceptions import Disconnected
from providers.protocol.chunks import Chunk
from providers.tests.filters.conforming import make_chunk
from providers.upstream.stream_reader import StreamReader


def read_stream(*chunks: Chunk) -> tuple[StreamReader, list[Chunk]]:
    reader = StreamReader(orjson.loads, 2**20, chat=True)
    events = b"".join(b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks)
    return reader, reader.feed(events) + reader.feed(b"data: [DONE]\n\n")


def make_call(arguments: str, index: int = 0) -> Chunk:
    function = {"name": "f", "arguments": arguments}
    return make_chunk({"tool_calls": [{"index": index, "id": f"c{index}", "function": function}]})


def test_calls_that_are_complete_end_as_calls() -> None:
    reader, chunks = read_stream(make_call('{"x": 1}'), make_call("", index=1))
    reader.require_finish()
    last = chunks[-1]
    assert last["choices"][0]["finish_reason"] == "tool_calls"
    assert last["choices"][0]["delta"]["tool_calls"] == [
        {"index": 1, "function": {"arguments": "{}"}}
    ]
    assert (last["id"], last["model"], last["object"]) == ("chatcmpl-1", "m", chunks[0]["object"])


@pytest.mark.parametrize(
    "chunks", [(make_call('{"x": '),), (make_chunk({"content": "Hi"}),), ()], ids=str
)
def test_an_answer_that_may_lack_its_end_is_an_error(chunks: tuple[Chunk, ...]) -> None:
    reader, _ = read_stream(*chunks)
    with pytest.raises(Disconnected):
        reader.require_finish()


def test_calls_without_done_are_an_error() -> None:
    reader = StreamReader(orjson.loads, 2**20, chat=True)
    reader.feed(b"data: %b\n\n" % orjson.dumps(make_call("{}")))
    reader.read_last_event()
    with pytest.raises(Disconnected):
        reader.require_finish()
