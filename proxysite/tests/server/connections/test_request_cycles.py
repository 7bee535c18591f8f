"""A whole answer goes out in one piece, and its headers cannot begin others."""

import asyncio
from typing import Any

import pytest

from proxysite.server.connections.request_cycles import RequestCycle


class Wire:
    """The transport, and everything else that a cycle of a request needs, as far as it is used."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False
        self.answers = 0

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True

    def count_answer(self) -> None:
        self.answers += 1


def make_cycle(wire: Wire, *, keep_alive: bool = True) -> Any:
    cycle: Any = RequestCycle.__new__(RequestCycle)
    cycle.transport = wire
    cycle.flow = type("Flow", (), {"write_paused": False})()
    cycle.disconnected = False
    cycle.keep_alive = keep_alive
    cycle.default_headers = [(b"server", b"test")]
    cycle.response_started = cycle.response_complete = False
    cycle.waiting_for_100_continue = True
    cycle.message_event = asyncio.Event()
    cycle.on_response = wire.count_answer
    return cycle


HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2")]


async def test_head_and_body_are_one_write() -> None:
    wire = Wire()
    cycle = make_cycle(wire)
    await cycle.send_whole_answer(200, HEADERS, b"{}")
    assert wire.written == [
        b"HTTP/1.1 200 OK\r\nserver: test\r\ncontent-type: application/json\r\n"
        b"content-length: 2\r\n\r\n{}"
    ]
    assert (wire.answers, wire.is_closed) == (1, False)
    assert cycle.response_complete
    assert cycle.message_event.is_set()


async def test_the_last_answer_of_a_connection_says_so_and_closes_it() -> None:
    wire = Wire()
    await make_cycle(wire, keep_alive=False).send_whole_answer(200, HEADERS, b"{}")
    assert b"\r\nconnection: close\r\n\r\n{}" in wire.written[0]
    assert wire.is_closed


async def test_nothing_is_written_to_a_caller_who_has_left() -> None:
    wire = Wire()
    cycle = make_cycle(wire)
    cycle.disconnected = True
    await cycle.send_whole_answer(200, HEADERS, b"{}")
    assert wire.written == []


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb"])
async def test_a_header_cannot_begin_another_one(value: bytes) -> None:
    wire = Wire()
    with pytest.raises(ValueError, match="line end"):
        await make_cycle(wire).send_whole_answer(200, [(b"x", value)], b"{}")
    assert wire.written == []
