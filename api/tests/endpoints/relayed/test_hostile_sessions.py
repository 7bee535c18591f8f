"""Realtime sessions whose messages or handshakes are meant to harm."""

import json

import pytest
from websockets.exceptions import InvalidStatus

from api.tests.endpoints.relayed.test_realtime import open_socket, read_ended_record, realtime
from proxysite.testing import wait_until_true

__all__ = ["realtime"]  # a fixture

LONE_SURROGATE = "\\ud800"
HIDDEN_MODELS = [
    '{"type": "session.update", "session": {"model": "dear", "instructions": "%s"}}',
    '{"type": "session.update", "session": {"model": "dear"}, "event_id": "%s"}',
]


@pytest.mark.parametrize("text", HIDDEN_MODELS)
async def test_a_message_that_cannot_be_read_does_not_reach_the_upstream(
    gateway, realtime, alice, text
):
    async with open_socket(gateway, alice.key) as socket:
        await socket.recv()
        await socket.send(text % LONE_SURROGATE)
        event = json.loads(await socket.recv())
        assert (event["type"], event["error"]["code"]) == ("error", "invalid_json")
        await socket.send(json.dumps({"type": "response.create"}))
        assert json.loads(await socket.recv())["type"] == "response.done"
    assert [message["type"] for message in realtime.messages] == ["response.create"]
    assert (await read_ended_record(gateway)).status == "complete"


@pytest.mark.settings(REQUESTS_IN_FLIGHT=1)
async def test_sessions_are_among_the_requests_that_may_run(gateway, realtime, alice):
    async with open_socket(gateway, alice.key) as socket:
        await socket.recv()
        with pytest.raises(InvalidStatus) as caught:
            async with open_socket(gateway, alice.key):
                pass
        assert caught.value.response.status_code == 503
    await wait_until_true(lambda: not gateway.inner.requests_in_flight)


async def test_a_handshake_with_two_keys_is_refused(gateway, realtime, alice, mallory):
    protocols = ["realtime", f"openai-insecure-api-key.{mallory.key}"]
    with pytest.raises(InvalidStatus) as caught:
        async with open_socket(gateway, alice.key, subprotocols=protocols):
            pass
    assert caught.value.response.status_code == 400
    assert realtime.handshakes == []
