"""The last credential that is left is asked again after a failure that may pass.

A client that talks to the upstream itself repeats such a request twice; with one credential it must
not be worse off through the gateway.
"""

import socket
import time

import pytest

from api.tests.endpoints.chat_messages import list_bearer_tokens
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import CUT, send_pieces, send_refusal

pytestmark = pytest.mark.settings(ONLY_TOKEN_RETRIES=2)

PASSING_FAILURES = {
    "500": send_refusal(500),
    "503": send_refusal(503),
    "408": send_refusal(408),
    "409": send_refusal(409),
    "425": send_refusal(425),
    "reset": send_pieces(CUT),
}
LASTING_FAILURES = {
    "400": send_refusal(400),
    "401": send_refusal(401),
    "404": send_refusal(404),
    "429": send_refusal(429),
}


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("fault", PASSING_FAILURES)
async def test_one_credential_is_asked_until_the_third_time(
    gateway, upstream, alice, token, fault, streams
):
    upstream.queue_scripts(PASSING_FAILURES[fault], PASSING_FAILURES[fault])
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert list_bearer_tokens(upstream) == ["sk-up-1"] * 3
    assert len((await rows.read_only_usage_record()).attempts) == 3


@pytest.mark.parametrize("fault", PASSING_FAILURES)
async def test_one_credential_is_asked_no_more_often_than_max_attempts(
    gateway, upstream, alice, token, fault
):
    upstream.set_default_script(PASSING_FAILURES[fault])
    assert (await gateway.request_chat(alice.key)).status >= 400
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("fault", LASTING_FAILURES)
async def test_one_credential_is_asked_once_after_a_failure_that_lasts(
    gateway, upstream, alice, token, fault
):
    upstream.set_default_script(LASTING_FAILURES[fault])
    assert (await gateway.request_chat(alice.key)).status >= 400
    assert len(upstream.requests) == 1


async def test_two_credentials_are_asked_and_then_one_of_them_again(
    gateway, upstream, alice, token, provider
):
    await run_in_thread(rows.create_tokens, provider, "sk-up-2")
    await gateway.reload_rows()
    upstream.queue_scripts(send_refusal(500), send_refusal(500))
    assert (await gateway.request_chat(alice.key)).status == 200
    assert list_bearer_tokens(upstream) == ["sk-up-1", "sk-up-2", "sk-up-2"]


async def test_the_other_provider_is_asked_before_the_first_one_is_asked_again(
    gateway, upstream, alice, token, second
):
    other, _ = second
    upstream.queue_scripts(send_refusal(500))
    other.queue_scripts(send_refusal(500))
    assert (await gateway.request_chat(alice.key)).status == 200
    outcomes = [
        (one["provider"], one["outcome"]) for one in (await rows.read_only_usage_record()).attempts
    ]
    assert outcomes == [
        ("fake", "ServerFailed"),
        ("second", "ServerFailed"),
        ("fake", "answered"),
    ]


async def test_an_upstream_that_refuses_connections_is_tried_three_times(
    gateway, upstream, alice, token
):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed_port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{closed_port}/v1"
    await run_in_thread(rows.move_all_providers, base_url=address)
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    outcomes = [one["outcome"] for one in (await rows.read_only_usage_record()).attempts]
    assert outcomes == ["Unreachable"] * 3


async def test_the_wait_that_the_upstream_names_is_kept_before_it_is_asked_again(
    gateway, upstream, alice, token
):
    upstream.queue_scripts(send_refusal(503, **{"retry_after-ms": "300"}))
    began = time.perf_counter()
    assert (await gateway.request_chat(alice.key)).status == 200
    assert time.perf_counter() - began >= 0.3
    assert len(upstream.requests) == 2


async def test_a_long_wait_that_the_upstream_names_goes_to_the_caller(
    gateway, upstream, alice, token
):
    upstream.queue_scripts(send_refusal(503, retry_after="3600"))
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.headers["retry-after"]) == (502, "120")
    assert "x-should-retry" not in answer.headers
    assert len(upstream.requests) == 1


@pytest.mark.settings(ONLY_TOKEN_RETRIES=2, PASSTHROUGH_PROVIDER="fake")
@pytest.mark.parametrize(
    ("tokens", "asked"),
    [
        ("token-one", ["token-one", "token-one"]),
        ("token-one,token-two", ["token-one", "token-two"]),
    ],
)
async def test_a_callers_own_credential_is_asked_again_when_it_is_the_last(
    gateway, upstream, alice, tokens, asked
):
    upstream.queue_scripts(send_refusal(500))
    assert (await gateway.request_chat(tokens)).status == 200
    assert list_bearer_tokens(upstream) == asked
