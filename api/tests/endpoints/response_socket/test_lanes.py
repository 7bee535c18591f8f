"""Lanes of one WebSocket: turns of one `stream_id` wait for each other, those of others do not."""

import pytest

from api.tests.endpoints.response_socket.turn_client import open_socket
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Gate, send_stream


def pause_answer(gate):
    begin, *rest = speech.streamed_completion("Now ", "late.")
    return send_stream(begin, gate, *rest, DONE)


async def read_until_ends(socket, count):
    """Return the lanes of the turns in the order of their ends."""
    lanes = []
    while len(lanes) < count:
        event = (await socket.read_turn())[-1]
        lanes.append(event.get("stream_id"))
    return lanes


async def test_a_turn_of_another_lane_does_not_wait(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(pause_answer(gate))
    async with open_socket(gateway, alice.key) as socket:
        await socket.send("One.", stream_id="slow")
        await gate.wait_until_reached()
        await socket.send("Two.", stream_id="fast")
        assert await read_until_ends(socket, 1) == ["fast"]
        gate.open()
        assert await read_until_ends(socket, 1) == ["slow"]


async def test_every_event_names_its_lane(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        await socket.send("One.", stream_id="main")
        assert {event["stream_id"] for event in await socket.read_turn()} == {"main"}
        refused = await socket.ask("Two.", stream_id="main", model="none")
        assert (refused["stream_id"], refused["error"]["code"]) == ("main", "model_not_found")


@pytest.mark.parametrize("lane", [{}, {"stream_id": "main"}], ids=["unnamed", "named"])
async def test_turns_of_one_lane_are_answered_in_their_order(gateway, upstream, alice, lane):
    gate = Gate()
    upstream.queue_scripts(pause_answer(gate))
    async with open_socket(gateway, alice.key) as socket:
        await socket.send("One.", **lane)
        await gate.wait_until_reached()
        await socket.send("Two.", **lane)
        await socket.send("Three.", model="none", **lane)
        gate.open()
        ends = [(await socket.read_turn())[-1]["type"] for _ in range(3)]
    assert ends == ["response.completed", "response.completed", "error"]
    questions = [request.json["messages"][0]["content"] for request in upstream.requests]
    assert questions == ["One.", "Two."]


async def test_a_lane_forks_the_response_of_another_one(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        plan = await socket.ask("Plan.", stream_id="planner")
        previous = {"previous_response_id": plan["response"]["id"]}
        critic = await socket.ask("Any gaps?", stream_id="critic", **previous)
        assert (critic["stream_id"], critic["type"]) == ("critic", "response.completed")
        assert len(upstream.last_exchange.request.json["messages"]) == 3
        more = await socket.ask("Go on.", stream_id="planner", **previous)
        assert more["type"] == "response.completed"
        gone = await socket.ask("Again?", stream_id="critic", **previous)
        assert gone["error"]["code"] == "previous_response_not_found"


@pytest.mark.settings(RESPONSE_SOCKET_LANES=2)
async def test_a_connection_has_so_many_lanes(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        for lane in ("a", "b", None, "a"):
            assert (await socket.ask(stream_id=lane))["type"] == "response.completed"
        refused = await socket.ask(stream_id="c")
        assert refused["error"]["code"] == "websocket_stream_limit_reached"
        assert refused["stream_id"] == "c"


@pytest.mark.settings(RESPONSE_SOCKET_RUNNING_TURNS=1)
async def test_so_many_turns_run_at_the_same_time(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(pause_answer(gate))
    async with open_socket(gateway, alice.key) as socket:
        await socket.send("One.", stream_id="a")
        await gate.wait_until_reached()
        await socket.send("Two.", stream_id="b")
        gate.open()
        assert await read_until_ends(socket, 2) == ["a", "b"]


@pytest.mark.settings(RESPONSE_SOCKET_WAITING_TURNS=1)
async def test_so_many_turns_wait(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(pause_answer(gate))
    async with open_socket(gateway, alice.key) as socket:
        await socket.send("One.")
        await gate.wait_until_reached()
        await socket.send("Two.")
        await socket.send("Three.", stream_id="other")
        events = [await socket.read_event()]
        while events[-1]["type"] != "error":
            events.append(await socket.read_event())
        assert (events[-1]["status"], events[-1]["stream_id"]) == (429, "other")
        gate.open()
        assert await read_until_ends(socket, 2) == [None, None]
