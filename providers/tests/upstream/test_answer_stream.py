"""The stream of one answer: its bytes come from a connection, its batches go up the path."""

import asyncio

import orjson
import pytest

from providers.exceptions import Disconnected
from providers.network.connection import SLICE_BYTES, Connection
from providers.network.response import Response
from providers.network.target import Timeouts
from providers.upstream.answer_stream import AnswerStream
from providers.upstream.stream_reader import StreamReader
from proxysite.testing.upstream import encode_response_head


def make_event(text="", finish_reason=None):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return b"data: %b\n\n" % orjson.dumps({"choices": [choice]})


class Transport:
    """A transport to nowhere."""

    def close(self):
        pass

    def pause_reading(self):
        pass

    resume_reading = abort = close


class Site:
    """An upstream whose answer is streamed by the test: `send` bytes of it, then `end`."""

    def __init__(self):
        self.connection = Connection(asyncio.get_running_loop())
        self.connection.connection_made(Transport())
        self.connection.data_received(encode_response_head(200, {"connection": "close"}))
        self.reader = StreamReader(orjson.loads, 2**22, chat=True)
        response = Response(self.connection, self.connection.close)
        self.stream = AnswerStream(response, self.reader, Timeouts(2, 2, 2, 2, 2))

    def send(self, data):
        self.connection.data_received(data)

    def end(self, error=None):
        self.connection.connection_lost(error)


@pytest.fixture
async def site():
    return Site()


def read_text(batch):
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in batch)


async def test_each_read_is_one_batch_and_the_end_is_an_empty_one(site):
    site.send(make_event("a") + make_event("b"))
    assert read_text(await site.stream.read_batch()) == "ab"
    site.send(make_event("c", "stop"))
    assert read_text(await site.stream.read_batch()) == "c"
    site.end()
    assert await site.stream.read_batch() == []
    assert await site.stream.read_batch() == []
    site.reader.require_finish()


async def test_a_read_that_completes_no_event_is_no_batch(site):
    event = make_event("a")
    waiting = asyncio.ensure_future(site.stream.read_batch())
    site.send(event[:10])
    await asyncio.sleep(0)
    assert not waiting.done()
    site.send(event[10:])
    assert read_text(await waiting) == "a"


async def test_a_last_event_without_its_blank_line_is_read_once(site):
    site.send(make_event("a", "stop").rstrip())
    site.end()
    assert read_text(await site.stream.read_batch()) == "a"
    assert await site.stream.read_batch() == []


async def test_a_stream_that_breaks_off_before_its_finish_reason_fails(site):
    site.send(make_event("a"))
    await site.stream.read_batch()
    site.end(ConnectionResetError())
    with pytest.raises(Disconnected):
        await site.stream.read_batch()


async def test_a_stream_that_breaks_off_after_its_finish_reason_is_complete(site):
    site.send(make_event("a", "stop"))
    await site.stream.read_batch()
    site.end(ConnectionResetError())
    assert await site.stream.read_batch() == []


async def test_nothing_is_read_after_the_marker_of_the_end(site):
    site.send(make_event("a", "stop") + b"data: [DONE]\n\n" + make_event("b"))
    assert read_text(await site.stream.read_batch()) == "a"
    assert await site.stream.read_batch() == []


async def test_a_large_read_is_worked_on_in_slices_and_others_get_their_turn_between_them(site):
    event = make_event("a" * 1_000)
    site.send(event * (4 * SLICE_BYTES // len(event)) + make_event("b", "stop"))
    site.end()
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(count_turns())
    while await site.stream.read_batch():
        pass
    task.cancel()
    assert turns >= 3
