"""The WebSocket of /v1/responses in a real process: turns, shutdown, and memory of a crash."""

import asyncio
import signal

import openai
import pytest
from websockets.exceptions import ConnectionClosed

from api.tests.endpoints.response_socket.turn_client import open_socket
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Gate, send_stream


@pytest.fixture
async def running(own_house):
    """A running house of this test alone."""
    await asyncio.to_thread(own_house.start)
    return own_house


async def test_two_turns_of_the_official_client(house, house_key, house_upstream):
    client = openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key=house_key)
    async with client.responses.connect() as connection:
        response = None
        for text in ("My name is Alice.", "Who am I?"):
            previous = {"previous_response_id": response.id} if response else {}
            await connection.response.create(model="m", input=text, store=False, **previous)
            async for event in connection:
                if event.type == "response.completed":
                    response = event.response
                    break
        assert response.output_text == "Hello there!"
    assert len(house_upstream.last_exchange.request.json["messages"]) == 3


async def test_sigterm_lets_a_turn_finish(running, house_key, house_upstream):
    gate = Gate()
    begin, *rest = speech.streamed_completion("one", "two")
    house_upstream.queue_scripts(send_stream(begin, gate, *rest, DONE))
    async with open_socket(running, house_key) as busy, open_socket(running, house_key) as idle:
        await busy.send()
        await gate.wait_until_reached()
        running.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as caught:
            await idle.wire.recv()
        assert caught.value.rcvd.code == 1012
        assert running.process.poll() is None
        gate.open()
        assert (await busy.read_turn())[-1]["type"] == "response.completed"
        with pytest.raises(ConnectionClosed) as caught:
            await busy.wire.recv()
        assert caught.value.rcvd.code == 1012
    assert await asyncio.to_thread(running.wait_for_end) == 0
    assert running.run_sql("SELECT status FROM api_usagerecord") == [("complete",)]
    assert "Traceback" not in running.output


async def test_a_turn_that_does_not_end_in_time_fails(own_house, house_key, house_upstream):
    own_house.environment["GRACE_SECONDS"] = "1"
    await asyncio.to_thread(own_house.start)
    gate = Gate()
    begin, *rest = speech.streamed_completion("one", "two")
    house_upstream.queue_scripts(send_stream(begin, gate, *rest, DONE))
    async with open_socket(own_house, house_key) as socket:
        await socket.send()
        await gate.wait_until_reached()
        own_house.send_signal(signal.SIGTERM)
        last = (await socket.read_turn())[-1]
        assert last["type"] == "response.failed"
    await asyncio.to_thread(own_house.wait_for_end)
    gate.open()
    assert "Traceback" not in own_house.output
