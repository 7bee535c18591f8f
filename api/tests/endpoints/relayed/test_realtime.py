"""/v1/realtime with OpenAI's own client: a WebSocket in front of the upstream's."""

import asyncio
import json
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.models import LimitSet
from api.tests.endpoints.relayed.relayed_requests import open_client
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true

CREATED = {"type": "session.created", "session": {"id": "sess_1", "model": "upstream-model"}}
DONE = {
    "type": "response.done",
    "response": {
        "id": "resp_1",
        "usage": {
            "total_tokens": 30,
            "input_tokens": 20,
            "output_tokens": 10,
            "input_token_details": {"cached_tokens": 5, "text_tokens": 20, "audio_tokens": 0},
        },
    },
}


class RealtimeUpstream:
    """An upstream with sessions: it answers each `response.create` with a response."""

    def __init__(self):
        self.handshakes = []
        self.messages = []
        self.refusals = []  # statuses of the next handshakes
        self.ended = asyncio.Event()

    def refuse(self, connection, request):
        self.handshakes.append(request)
        if self.refusals:
            return connection.respond(HTTPStatus(self.refusals.pop(0)), "{}")
        return None

    async def answer(self, socket):
        await socket.send(json.dumps(CREATED))
        try:
            async for text in socket:
                message = json.loads(text)
                self.messages.append(message)
                if message["type"] == "response.create":
                    await socket.send(json.dumps(DONE))
                elif message["type"] == "break":
                    socket.transport.abort()
                elif message["type"] == "end":
                    await socket.close()
        except ConnectionClosed:
            pass  # as `break` wants it
        finally:
            self.ended.set()


@pytest.fixture
async def realtime(gateway, provider):
    """Return an upstream with sessions that the gateway knows as its provider."""
    upstream = RealtimeUpstream()
    async with serve(upstream.answer, "127.0.0.1", 0, process_request=upstream.refuse) as server:
        port = server.sockets[0].getsockname()[1]
        await run_in_thread(rows.move_all_providers, f"http://127.0.0.1:{port}/v1")
        await gateway.reload_rows()
        yield upstream


@asynccontextmanager
async def open_socket(gateway, key, query="?model=m", **options):
    """Open a session without OpenAI's client."""
    url = f"{gateway.url.replace('http', 'ws')}/v1/realtime{query}"
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with connect(url, additional_headers=headers, proxy=None, **options) as socket:
        yield socket


async def read_ended_record(gateway):
    """Return the only usage record, once the session has ended."""
    await wait_until_true(lambda: not gateway.inner.requests_in_flight)
    return await rows.read_only_usage_record()


async def test_the_official_client_holds_a_session(gateway, realtime, alice):
    async with (
        open_client(gateway, alice) as client,
        client.realtime.connect(model="m") as session,
    ):
        created = await session.recv()
        assert (created.type, created.session.model) == ("session.created", "m")
        await session.session.update(session={"type": "realtime", "model": "m"})
        for _ in range(2):
            await session.response.create()
            assert (await session.recv()).type == "response.done"
    await realtime.ended.wait()
    (handshake,) = realtime.handshakes
    assert handshake.path == "/v1/realtime?model=upstream-model"
    assert handshake.headers["authorization"] == "Bearer sk-up-1"
    assert realtime.messages[0]["session"]["model"] == "upstream-model"
    row = await read_ended_record(gateway)
    assert (row.endpoint, row.status, row.stream) == ("realtime", "complete", True)
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (40, 20, 10)
    assert not row.estimated


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_another_token_opens_the_session(gateway, realtime, alice, three, status):
    await run_in_thread(rows.move_all_providers, (await current_url(realtime)))
    await gateway.reload_rows()
    realtime.refusals.append(status)
    async with open_socket(gateway, alice.key) as socket:
        assert json.loads(await socket.recv())["type"] == "session.created"
    used = [handshake.headers["authorization"] for handshake in realtime.handshakes]
    assert used == ["Bearer sk-up-1", "Bearer sk-up-2"]
    assert len((await read_ended_record(gateway)).attempts) == 2


async def current_url(realtime):
    """Return the provider's present address."""
    from providers.models import Provider

    return await run_in_thread(lambda: Provider.objects.get(name="fake").base_url)


@pytest.mark.parametrize(
    ("query", "key", "status", "code"),
    [
        ("?model=m", "", 401, "invalid_api_key"),
        ("?model=m", "sk-wrong", 401, "invalid_api_key"),
        ("", None, 400, "missing_required_parameter"),
        ("?model=nowhere", None, 404, "model_not_found"),
        ("?model=m&voice=x", None, 400, "unknown_parameter"),
    ],
)
async def test_a_refused_handshake_has_its_status_and_error(
    gateway, realtime, alice, query, key, status, code
):
    with pytest.raises(InvalidStatus) as caught:
        async with open_socket(gateway, alice.key if key is None else key, query):
            pass
    response = caught.value.response
    assert response.status_code == status
    assert json.loads(response.body)["error"]["code"] == code
    assert realtime.handshakes == []


async def test_a_browser_sends_its_key_in_a_subprotocol(gateway, realtime, alice):
    protocols = ["realtime", f"openai-insecure-api-key.{alice.key}"]
    async with open_socket(gateway, "", subprotocols=protocols) as socket:
        assert socket.subprotocol == "realtime"
        assert json.loads(await socket.recv())["type"] == "session.created"


@pytest.mark.parametrize(
    ("message", "status", "close_code"), [("end", "complete", 1000), ("break", "truncated", 1011)]
)
async def test_the_upstreams_end_ends_the_session(
    gateway, realtime, alice, message, status, close_code
):
    async with open_socket(gateway, alice.key) as socket:
        await socket.recv()
        await socket.send(json.dumps({"type": message}))
        if status == "truncated":
            event = json.loads(await socket.recv())
            assert (event["type"], event["error"]["code"]) == ("error", "upstream_disconnected")
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd.code == close_code
    assert (await read_ended_record(gateway)).status == status


@pytest.mark.settings(BODY_LIMIT_BYTES=20_000)
async def test_a_message_has_a_largest_size(gateway, realtime, alice):
    async with open_socket(gateway, alice.key) as socket:
        await socket.recv()
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 10_000}))
        await wait_until_true(lambda: realtime.messages)
        await socket.send("A" * 30_000)
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd.code == 1009
    assert realtime.messages[0]["audio"] == "A" * 10_000
    assert (await read_ended_record(gateway)).status == "complete"


async def test_a_session_counts_as_a_running_request(gateway, realtime, alice):
    await run_in_thread(lambda: LimitSet.objects.create(key=alice.row, concurrent_requests=1))
    await gateway.reload_rows()
    async with open_socket(gateway, alice.key) as socket:
        await socket.recv()
        with pytest.raises(InvalidStatus) as caught:
            async with open_socket(gateway, alice.key):
                pass
        assert caught.value.response.status_code == 429
    await wait_until_true(lambda: not gateway.inner.requests_in_flight)
    async with open_socket(gateway, alice.key) as socket:
        await socket.recv()


async def test_sessions_end_when_the_server_does(gateway, realtime, alice):
    async with open_socket(gateway, alice.key) as socket:
        await socket.recv()
        await gateway.drain_server()
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd.code == 1012
    await wait_until_true(lambda: not gateway.inner.requests_in_flight)
