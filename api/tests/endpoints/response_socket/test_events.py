"""Events that cannot be answered get an error event, and the connection goes on."""

import pytest
from websockets.exceptions import ConnectionClosed

from api.tests.endpoints.response_socket.turn_client import open_socket
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("{", None),
        ("[]", None),
        ("", None),
        ('{"model":"m","input":"Hi"}', "type"),
        ('{"type":"response.steer","model":"m"}', "type"),
        ('{"type":"response.create","input":"Hi"}', "model"),
        ('{"type":"response.create","model":"m"}', "input"),
        ('{"type":"response.create","model":"m","input":"Hi","background":true}', "background"),
        ('{"type":"response.create","model":"m","input":"Hi","stream":false}', "stream"),
        ('{"type":"response.create","model":"m","input":"Hi","stream_id":""}', "stream_id"),
        ('{"type":"response.create","model":"m","input":"Hi","stream_id":7}', "stream_id"),
        ('{"type":"response.create","model":"m","input":"Hi","stream_id":"a b"}', "stream_id"),
    ],
)
async def test_a_wrong_event_names_its_field(gateway, upstream, alice, text, param):
    async with open_socket(gateway, alice.key) as socket:
        await socket.wire.send(text)
        refused = await socket.read_event()
        assert (refused["type"], refused["status"]) == ("error", 400)
        assert refused["error"]["param"] == param
        assert refused["headers"]["x-request-id"].startswith("req_")
        assert (await socket.ask())["type"] == "response.completed"
    assert len(upstream.requests) == 1


async def test_a_binary_message_is_read_like_a_text(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        await socket.wire.send(b'{"type":"response.create","model":"m","input":"Hi"}')
        assert (await socket.read_turn())[-1]["type"] == "response.completed"


async def test_an_error_of_the_upstream_has_its_status(gateway, upstream, alice):
    upstream.set_default_script(send_refusal(429, "slow down"))
    async with open_socket(gateway, alice.key) as socket:
        refused = await socket.ask()
        assert (refused["type"], refused["status"]) == ("error", 429)
        assert int(refused["headers"]["retry-after"]) >= 1
    assert (await rows.read_only_usage_record()).http_status == 429


@pytest.mark.settings(RESPONSE_SOCKET_MESSAGE_BYTES=100_000)
async def test_a_message_that_is_too_large_ends_the_connection(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        assert (await socket.ask("x" * 90_000))["type"] == "response.completed"
        with pytest.raises(ConnectionClosed) as caught:
            await socket.ask("x" * 100_000)
        assert caught.value.rcvd.code == 1009
    assert len(upstream.requests) == 1


async def test_a_message_may_come_in_many_fragments(gateway, upstream, alice):
    pieces = ['{"type":"response.create",', '"model":"m","input":"', "x" * 200_000, '"}']
    async with open_socket(gateway, alice.key) as socket:
        await socket.wire.send(pieces)
        assert (await socket.read_turn())[-1]["type"] == "response.completed"
    assert len(upstream.last_exchange.request.json["messages"][0]["content"]) == 200_000


@pytest.mark.settings(BODIES_BYTES_PER_KEY=150_000)
async def test_messages_take_part_in_the_memory_for_bodies(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        assert (await socket.ask("x" * 100_000))["type"] == "response.completed"
        with pytest.raises(ConnectionClosed) as caught:
            await socket.ask("x" * 200_000)
        assert caught.value.rcvd.code == 1013
