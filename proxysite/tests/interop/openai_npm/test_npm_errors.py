"""Errors by the `openai` package of npm: of callers, of models, of upstreams."""

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import CUT, DONE, send_refusal, send_stream

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]


async def test_a_wrong_key(node, upstream):
    for key in ("sk-ps-wrong", "nonsense"):
        error = await node("error", API_KEY=key)
        assert (error["kind"], error["status"], error["code"]) == (
            "AuthenticationError",
            401,
            "invalid_api_key",
        )
        assert error["requestID"].startswith("req_")
    assert upstream.requests == []


async def test_a_model_that_the_key_may_not_use(node, gateway, upstream):
    limited = gateway.issue_key("mallory", "--models", "echo")
    error = await node("error", API_KEY=limited)
    assert (error["kind"], error["status"]) == ("PermissionDeniedError", 403)
    assert upstream.requests == []


@pytest.mark.parametrize("method", ["chat", "models", "embeddings"])
async def test_a_model_that_there_is_not(node, upstream, method):
    error = await node("error", {"model": "no-such"}, {}, method)
    assert (error["kind"], error["status"], error["code"]) == (
        "NotFoundError",
        404,
        "model_not_found",
    )
    assert (error["type"], error["param"]) == ("invalid_request_error", "model")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"api_base": "http://127.0.0.1:1/"}, "api_base"),
    ],
    ids=["nothing said", "no list", "wrong type", "a field that chooses the upstream"],
)
async def test_a_request_that_makes_no_sense(node, upstream, body, param):
    error = await node("error", body)
    assert (error["kind"], error["status"], error["param"]) == ("BadRequestError", 400, param)
    assert upstream.requests == []


async def test_a_request_that_the_upstream_refuses(node, upstream):
    upstream.queue_scripts(
        send_refusal(400, "Too long.", "context_length_exceeded", "invalid_request_error"),
        send_refusal(422, "Not like this.", None, "invalid_request_error"),
    )
    error = await node("error")
    assert (error["kind"], error["code"]) == ("BadRequestError", "context_length_exceeded")
    assert error["message"] == "400 Too long."
    assert (await node("error"))["kind"] == "UnprocessableEntityError"
    assert len(upstream.requests) == 2


async def test_a_rate_limit_is_told_with_its_time(node, upstream):
    upstream.queue_scripts(send_refusal(429, "Slow down.", "rate_limit_exceeded", retry_after="30"))
    for _ in range(2):  # the second time the upstream is not asked
        error = await node("error", {"model": "limited"})
        assert (error["kind"], error["status"], error["code"]) == (
            "RateLimitError",
            429,
            "rate_limit_exceeded",
        )
        assert 20 <= int(error["headers"]["retry-after"]) <= 31
    assert len(upstream.requests) == 1


async def test_the_package_comes_back_when_it_was_told_to(node, upstream):
    upstream.queue_scripts(send_refusal(429, "Slow down.", "rate_limit_exceeded", retry_after="1"))
    assert await node("error", {"model": "slow"}, {"maxRetries": 2}) == {"kind": "none"}
    assert len(upstream.requests) == 2


async def test_an_upstream_that_cannot_be_reached(node, upstream):
    error = await node("error", {"model": "nowhere"}, {"maxRetries": 2})
    assert error["kind"] == "InternalServerError"
    assert (error["status"], error["code"]) == (502, "upstream_unreachable")
    assert "x-should-retry" not in error["headers"]  # it may be reached in a moment


async def test_an_upstream_that_breaks_off(node, upstream, gateway):
    upstream.queue_scripts(send_stream(*speech.content_chunks("Hello", " the"), CUT))
    seen = await node("stream")
    assert [chunk["choices"][0]["delta"]["content"] for chunk in seen["chunks"]] == [
        "Hello",
        " the",
    ]
    assert (seen["error"]["kind"], seen["error"]["code"]) == ("APIError", "upstream_disconnected")
    assert gateway.ledger("m")[-1]["status"] == "truncated"


async def test_an_error_that_the_upstream_reports_in_its_stream(node, upstream, gateway):
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("Hello"),
            speech.openai_error_body("It broke.", "server_error", "overloaded"),
            DONE,
        )
    )
    seen = await node("stream")
    assert [chunk["choices"][0]["delta"]["content"] for chunk in seen["chunks"]] == ["Hello"]
    assert seen["error"]["kind"] == "APIError"
    assert seen["error"]["code"]
    assert gateway.ledger("m")[-1]["status"] == "truncated"
