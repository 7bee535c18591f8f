"""Callers who bring tokens of an upstream instead of a key of ours."""

import logging

import pytest

from providers.offloop import off_loop
from proxysite.testing import rows
from proxysite.testing.upstream import refuse, say

on = pytest.mark.settings(PASSTHROUGH_PROVIDER="fake")


async def test_without_the_setting_nobody_gets_in_with_a_token(gateway, upstream, alice):
    answer = await gateway.chat("kimi-token-of-mine")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert upstream.requests == []


@on
async def test_a_bearer_that_is_no_key_is_shown_to_the_upstream(gateway, upstream, alice, token, caplog):
    caplog.set_level(logging.DEBUG)
    for streams in (False, True):
        answer = await gateway.chat("kimi-token-of-mine", stream=streams)
        assert answer.status == 200
        assert answer.text == "Hello there!"
        assert upstream.requests[-1].bearer == "kimi-token-of-mine"
    found = await rows.usage()
    assert [(row.status, row.key_id, row.user_id) for row in found] == [("complete", None, None)] * 2
    assert "kimi-token-of-mine" not in caplog.text + str([vars(row) for row in found])
    assert (await gateway.token(token)).requests == 0
    assert await off_loop(lambda: type(token).objects.count()) == 1


@on
async def test_several_tokens_take_turns_within_the_request(gateway, upstream, alice):
    upstream.will(refuse(401), refuse(429), say("third"))
    answer = await gateway.chat("token-one, token-two,token-three")
    assert answer.text == "third"
    assert [request.bearer for request in upstream.requests] == ["token-one", "token-two", "token-three"]
    assert [attempt["outcome"] for attempt in (await rows.only_usage()).attempts] == [
        "AuthRejected",
        "RateLimited",
        "answered",
    ]


@on
async def test_tokens_that_are_all_refused_are_the_callers_fault(gateway, upstream, alice, token):
    upstream.always(refuse(401))
    answer = await gateway.chat("token-one,token-two")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert {request.bearer for request in upstream.requests} == {"token-one", "token-two"}
    assert (await gateway.token(token)).strikes == 0


@on
async def test_keys_of_ours_work_as_ever_and_use_the_pool(gateway, upstream, alice, token):
    assert (await gateway.chat(alice.key)).status == 200
    assert upstream.last.request.bearer == "sk-up-1"


@on
async def test_a_key_that_was_ours_goes_to_no_upstream(gateway, upstream, alice, mallory):
    await off_loop(type(mallory.row).objects.filter(pk=mallory.row.pk).revoke)
    await gateway.reload()
    for bearer in (mallory.key, f"token-one,{mallory.key}", f"token-one,{alice.key}", "sk-ps-unknown", ",", ",,"):
        answer = await gateway.chat(bearer)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key"), bearer
    assert upstream.requests == []


@on
async def test_brought_tokens_reach_that_providers_models_only(gateway, upstream, alice):
    other = await off_loop(rows.provider, upstream.url, "other", models=("secret",))
    await off_loop(rows.tokens, other, "sk-other")
    await gateway.reload()
    assert (await gateway.chat("token-one", model="secret")).status == 404
    assert upstream.requests == []
    listed = await gateway.ask("GET", "/v1/models", "token-one")
    assert [model["id"] for model in listed.json["data"]] == ["m"]
    assert (await gateway.ask("GET", "/v1/models/secret", "token-one")).status == 404
    assert (await gateway.chat(alice.key, model="secret")).status == 200
