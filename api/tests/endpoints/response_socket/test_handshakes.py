"""The handshake of a WebSocket on /v1/responses: who is refused, and with which HTTP answer."""

import json
from contextlib import AsyncExitStack

import pytest
from websockets.exceptions import InvalidStatus

from api.models import ApiKey, LimitSet
from api.tests.endpoints.response_socket.turn_client import open_socket
from providers.database.database_threads import run_in_thread


async def refuse(gateway, key, **options):
    """Try to connect, and return the answer with its error object."""
    with pytest.raises(InvalidStatus) as caught:
        async with open_socket(gateway, key, **options):
            pass
    response = caught.value.response
    return response, json.loads(response.body)["error"]


async def test_a_wrong_key_is_refused(gateway, upstream, alice):
    response, error = await refuse(gateway, "sk-wrong")
    assert (response.status_code, error["code"]) == (401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-request-id"].startswith("req_")


@pytest.fixture
def only_chat(alice):
    LimitSet.objects.create(user=alice.user, allowed_endpoints=["/v1/chat/*"])


async def test_a_key_without_the_right_is_refused(only_chat, gateway, upstream, alice):
    response, error = await refuse(gateway, alice.key)
    assert (response.status_code, error["code"]) == (403, "endpoint_not_allowed")


@pytest.mark.settings(RESPONSE_SOCKETS=0)
async def test_where_they_are_switched_off_the_answer_is_426(gateway, upstream, alice):
    response, error = await refuse(gateway, alice.key)
    assert (response.status_code, error["code"]) == (426, "upgrade_required")


@pytest.mark.settings(RESPONSE_SOCKETS_PER_KEY=2)
async def test_a_key_has_so_many_connections(gateway, upstream, alice, mallory):
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(open_socket(gateway, alice.key))
        response, _ = await refuse(gateway, alice.key)
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1
        await stack.enter_async_context(open_socket(gateway, mallory.key))


@pytest.mark.settings(RESPONSE_SOCKETS=1)
async def test_a_process_has_so_many_connections(gateway, upstream, alice, mallory):
    async with open_socket(gateway, alice.key):
        response, _ = await refuse(gateway, mallory.key)
        assert response.status_code == 503
    async with open_socket(gateway, mallory.key) as socket:
        assert (await socket.ask())["type"] == "response.completed"


async def test_a_key_that_is_revoked_meanwhile_gets_errors(gateway, upstream, alice):
    async with open_socket(gateway, alice.key) as socket:
        assert (await socket.ask())["type"] == "response.completed"
        await run_in_thread(ApiKey.objects.filter(pk=alice.row.pk).revoke)
        await gateway.reload_rows()
        refused = await socket.ask()
        assert (refused["status"], refused["error"]["code"]) == (401, "invalid_api_key")


async def test_a_plain_get_has_no_response_to_show(gateway, upstream, alice):
    answer = await gateway.send_request("GET", "/v1/responses", alice.key)
    assert answer.status == 405
