"""What goes wrong with K2-Think's web site."""

import pytest

from api.tests.endpoints.k2think.k2think_site import CAPTCHA, request_k2think, send_snapshots
from proxysite.testing.upstream import send_reply, send_stream


async def test_a_stream_that_nothing_ends_is_an_error(gateway, upstream, alice):
    upstream.queue_scripts(send_snapshots("<think>a</think>Hi", end=b""))
    answer = await request_k2think(gateway, alice, stream=True)
    assert answer.stream_error["code"] == "upstream_disconnected"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_struck(gateway, upstream, alice, token, status):
    upstream.set_default_script(send_reply({"detail": "Your session has expired"}, status))
    assert (await request_k2think(gateway, alice)).error["code"] == "no_available_token"
    row = await gateway.read_token_row(token)
    assert row.strikes == 1
    assert "session has expired" in row.reason


async def test_a_guest_who_is_refused_costs_no_token(guest_gateway, upstream, alice, token):
    upstream.set_default_script(send_reply({"detail": "Guests are not welcome"}, 403))
    assert (await request_k2think(guest_gateway, alice)).status == 503
    assert (await guest_gateway.read_token_row(token)).strikes == 0


@pytest.mark.parametrize("status", [400, 404])
async def test_a_model_that_the_site_no_longer_has_is_missing_and_no_tokens_fault(
    gateway, upstream, alice, token, status
):
    upstream.set_default_script(send_reply({"detail": "Model not found"}, status))
    answer = await request_k2think(gateway, alice)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (
        404,
        "model_not_found",
        "model",
    )
    assert (await gateway.read_token_row(token)).strikes == 0


async def test_a_refusal_that_looks_like_success_is_one(gateway, upstream, alice, token):
    upstream.set_default_script(send_reply({"detail": "Model not found"}))
    assert (await request_k2think(gateway, alice)).status == 404
    upstream.set_default_script(send_reply({"detail": "Oops"}))
    assert (await request_k2think(gateway, alice)).status == 502
    assert (await gateway.read_token_row(token)).strikes == 0


async def test_another_bad_request_is_the_callers(gateway, upstream, alice, token):
    upstream.queue_scripts(send_reply({"detail": "messages: too many"}, 400))
    answer = await request_k2think(gateway, alice)
    assert (answer.status, answer.error["message"]) == (400, "messages: too many")
    assert len(upstream.requests) == 1
    assert (await gateway.read_token_row(token)).strikes == 0


@pytest.mark.parametrize("status", [200, 401, 403, 503])
async def test_a_captcha_strikes_no_token(gateway, upstream, alice, token, status):
    upstream.set_default_script(
        send_reply(CAPTCHA, status, content_type="text/html; charset=utf-8")
    )
    answer = await request_k2think(gateway, alice)
    assert (answer.status, answer.error["type"]) == (502, "upstream_error")
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"error": {"message": "Broken."}}, 502),
        ({"detail": "Model not found"}, 404),
        ({"error": "Oh"}, 502),
    ],
)
async def test_an_error_inside_a_stream_is_an_error(gateway, upstream, alice, token, said, status):
    upstream.set_default_script(send_stream(said, "[DONE]"))
    assert (await request_k2think(gateway, alice, stream=True)).status == status
    assert (await gateway.read_token_row(token)).strikes == 0
