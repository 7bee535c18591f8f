"""Upstreams that cannot be reached, may not be, or do not answer in time."""

import socket
from contextlib import ExitStack

import pytest

from api.tests.endpoints.upstream_answers.raw_answers import WHOLE_BODY
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows
from proxysite.testing.upstream import Gate, encode_response_head, keep_silent, send_pieces

JSON = {"content-type": "application/json"}


@WHOLE_AND_STREAMED
async def test_a_refused_connection(gateway, alice, provider, token, streams):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    await run_in_thread(rows.move_all_providers, base_url=f"http://127.0.0.1:{port}/v1")
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures() == 1
    assert (await rows.read_only_usage_record()).error_code == "upstream_unreachable"


async def test_a_connection_that_nobody_accepts_is_given_up_in_time(gateway, alice, token):
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # fill what the kernel accepts for it
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        await run_in_thread(rows.move_all_providers, base_url=url, connect_seconds=0.1)
        await gateway.reload_rows()
        answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures() == 1


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "x..example"])
async def test_a_name_that_does_not_resolve(gateway, alice, name):
    await run_in_thread(rows.move_all_providers, base_url=f"https://{name}/v1")
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    assert gateway.count_failures() == 1


async def test_a_private_address_is_not_connected_to_unless_its_provider_allows_that(
    gateway, upstream, alice
):
    await run_in_thread(Provider.objects.update, allow_private=False)
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    assert upstream.connections == 0


@WHOLE_AND_STREAMED
async def test_an_upstream_that_never_answers_is_given_up_in_time(
    gateway, upstream, alice, token, streams
):
    await run_in_thread(
        Provider.objects.update, **{"first_byte_seconds" if streams else "total_seconds": 0.1}
    )
    await gateway.reload_rows()
    upstream.queue_scripts(keep_silent)
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures() == 1
    await upstream.last_exchange.wait_until_left()


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_that_stalls_in_its_body_is_given_up_in_time(
    gateway, upstream, alice, status
):
    await run_in_thread(
        Provider.objects.update, total_seconds=0.2, first_byte_seconds=0.2, gap_seconds=0.2
    )
    await gateway.reload_rows()
    upstream.queue_scripts(
        send_pieces(
            encode_response_head(status, JSON | {"content-length": "1000"}) + WHOLE_BODY[:20],
            Gate(),
        )
    )
    answer = await gateway.request_chat(alice.key)
    assert answer.status in (502, 504)
    assert answer.error["code"] in ("upstream_timeout", "upstream_failed")
    await upstream.last_exchange.wait_until_left()
