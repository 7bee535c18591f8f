"""Callers who bring tokens of an upstream instead of a key of ours."""

import logging

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.gateway import HELLO
from proxysite.testing.upstream import answer_honestly, send_refusal, send_reply

on = pytest.mark.settings(PASSTHROUGH_PROVIDER="fake")


async def test_without_the_setting_nobody_gets_in_with_a_token(gateway, upstream, alice):
    answer = await gateway.request_chat("kimi-token-of-mine")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert upstream.requests == []


@on
async def test_a_bearer_that_is_no_key_is_shown_to_the_upstream(
    gateway, upstream, alice, token, caplog
):
    caplog.set_level(logging.DEBUG)
    for streams in (False, True):
        answer = await gateway.request_chat("kimi-token-of-mine", stream=streams)
        assert answer.status == 200
        assert answer.text == "Hello there!"
        assert upstream.requests[-1].bearer_token == "kimi-token-of-mine"
    found = await rows.read_usage_records()
    assert [(row.status, row.key_id, row.user_id) for row in found] == [
        ("complete", None, None)
    ] * 2
    assert "kimi-token-of-mine" not in caplog.text + str([vars(row) for row in found])
    assert (await gateway.read_token_row(token)).requests == 0
    assert await run_in_thread(lambda: type(token).objects.count()) == 1


@on
async def test_several_tokens_take_turns_within_the_request(gateway, upstream, alice):
    upstream.queue_scripts(send_refusal(401), send_refusal(429), answer_honestly("third"))
    answer = await gateway.request_chat("token-one, token-two,token-three")
    assert answer.text == "third"
    assert [request.bearer_token for request in upstream.requests] == [
        "token-one",
        "token-two",
        "token-three",
    ]
    assert [attempt["outcome"] for attempt in (await rows.read_only_usage_record()).attempts] == [
        "AuthRejected",
        "RateLimited",
        "answered",
    ]


@on
async def test_tokens_that_are_all_refused_are_the_callers_fault(gateway, upstream, alice, token):
    upstream.set_default_script(send_refusal(401))
    answer = await gateway.request_chat("token-one,token-two")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert {request.bearer_token for request in upstream.requests} == {"token-one", "token-two"}
    assert (await gateway.read_token_row(token)).strikes == 0


@on
async def test_keys_of_ours_work_as_ever_and_use_the_pool(gateway, upstream, alice, token):
    assert (await gateway.request_chat(alice.key)).status == 200
    assert upstream.last_exchange.request.bearer_token == "sk-up-1"


@on
async def test_a_key_that_was_ours_goes_to_no_upstream(gateway, upstream, alice, mallory):
    await run_in_thread(type(mallory.row).objects.filter(pk=mallory.row.pk).revoke)
    await gateway.reload_rows()
    forms = ("token-one,{}", "Bearer {}", '"{}"', "<{}>", "key={}", "tok {}", "{};x")
    disguised = [form.format(key) for form in forms for key in (alice.key, mallory.key)]
    for bearer in (
        mallory.key,
        alice.key.upper(),
        *disguised,
        "sk-ps-unknown",
        ",",
        ",,",
        "x" * 5_000,
    ):
        answer = await gateway.request_chat(bearer)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key"), bearer
    assert upstream.requests == []


@on
async def test_brought_tokens_reach_that_providers_models_only(gateway, upstream, alice):
    other = await run_in_thread(rows.create_provider, upstream.url, "other", models=("secret",))
    await run_in_thread(rows.create_tokens, other, "sk-other")
    await gateway.reload_rows()
    assert (await gateway.request_chat("token-one", model="secret")).status == 404
    assert upstream.requests == []
    listed = await gateway.send_request("GET", "/v1/models", "token-one")
    assert [model["id"] for model in listed.json["data"]] == ["m"]
    assert (await gateway.send_request("GET", "/v1/models/secret", "token-one")).status == 404
    assert (await gateway.request_chat(alice.key, model="secret")).status == 200


@on
async def test_what_a_stranger_brings_does_not_stop_the_provider_for_others(
    gateway, upstream, alice
):
    upstream.set_default_script(
        send_reply(b"<html>400 Request Header Too Large</html>", 400, content_type="text/html")
    )
    for _ in range(6):
        assert (await gateway.request_chat("x" * 4_000)).status == 502
    assert (gateway.count_failures(), gateway.blocked_seconds()) == (0, None)
    upstream.set_default_script(answer_honestly())
    assert (await gateway.request_chat(alice.key)).status == 200


@on
async def test_a_stranger_has_no_file_read(gateway, upstream, alice):
    part = {
        "type": "file",
        "file": {"filename": "a.html", "file_data": "data:text/html;base64,PGI+"},
    }
    answer = await gateway.request_chat("token-one", messages=[{"role": "user", "content": [part]}])
    assert (answer.status, answer.error["param"]) == (400, "messages")
    for method, path in (("GET", "/v1/files"), ("GET", "/v1/files/file-1")):
        assert (await gateway.send_request(method, path, "token-one")).status in (401, 403)
    assert upstream.requests == []


@on
@pytest.mark.parametrize("key", ["sk-default", "sk-false", "sk-k2think", "tok-1,sk-default"])
async def test_a_published_default_is_no_token_and_lists_nothing(gateway, upstream, key):
    """A18: a client that was never set up looked as if it worked."""
    for method, path, body in (
        ("GET", "/v1/models", None),
        ("POST", "/v1/chat/completions", {"model": "m", "messages": HELLO}),
    ):
        answer = await gateway.send_request(method, path, key, json=body)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert upstream.requests == []
