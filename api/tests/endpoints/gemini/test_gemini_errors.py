"""What Gemini's errors mean for a caller and for a token."""

from datetime import timedelta

import pytest
from django.utils import timezone

from api.tests.endpoints.gemini.gemini_answers import (
    answer_with,
    make_detail,
    make_event,
    refuse,
    text_part,
)
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import send_stream

KEY_INVALID = make_detail("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com")
RETRY = make_detail("RetryInfo", retryDelay="34s")
DONE = answer_with(make_event(text_part("Hi"), finish="STOP"), streams=False)


def quota(quota_id, model="gemini-3-flash"):
    violation = {"quotaMetric": "x", "quotaId": quota_id}
    if model:
        violation["quotaDimensions"] = {"model": model, "location": "global"}
    return make_detail("QuotaFailure", violations=[violation])


@pytest.mark.parametrize(
    ("script", "shown", "state", "strikes"),
    [
        (
            refuse(400, "INVALID_ARGUMENT", "API key not valid.", KEY_INVALID),
            (503, "no_available_token"),
            "active",
            1,
        ),
        (refuse(403, "PERMISSION_DENIED"), (503, "no_available_token"), "active", 1),
        (
            refuse(403, "PERMISSION_DENIED", "You may not access the File abc."),
            (403, "resource_missing"),
            "active",
            0,
        ),
        (refuse(400, "INVALID_ARGUMENT"), (400, "invalid_argument"), "active", 0),
        (
            refuse(
                400,
                "INVALID_ARGUMENT",
                "The input token count (9) exceeds the maximum number of tokens allowed (8).",
            ),
            (400, "context_length_exceeded"),
            "active",
            0,
        ),
        (
            refuse(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
            (502, "upstream_failed"),
            "active",
            0,
        ),
        (
            refuse(404, "NOT_FOUND", "models/x is not found for API version v1beta."),
            (404, "model_not_found"),
            "active",
            0,
        ),
        (refuse(500, "INTERNAL"), (502, "upstream_failed"), "active", 0),
        (refuse(503, "UNAVAILABLE", "Overloaded."), (502, "upstream_failed"), "active", 0),
        (refuse(504, "DEADLINE_EXCEEDED"), (504, "upstream_timeout"), "active", 0),
        (
            refuse(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
            (429, "rate_limit_exceeded"),
            "exhausted",
            0,
        ),
        (
            refuse(429, "RESOURCE_EXHAUSTED", "Quota.", quota("RequestsPerDay", model="")),
            (429, "rate_limit_exceeded"),
            "exhausted",
            0,
        ),
    ],
)
@pytest.mark.settings(MAX_ATTEMPTS=1)
async def test_what_errors_mean(gateway, upstream, alice, token, script, shown, state, strikes):
    upstream.queue_scripts(script)
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == shown
    found = await gateway.read_token_row(token)
    assert (found.state, found.strikes) == (state, strikes)


async def test_a_field_at_fault_is_named(gateway, upstream, alice, token):
    violation = {"field": "generation_config.temperature", "description": "Too high."}
    detail = make_detail("BadRequest", fieldViolations=[violation])
    upstream.queue_scripts(refuse(400, "INVALID_ARGUMENT", "Too high.", detail))
    answer = await gateway.request_chat(alice.key, temperature=2)
    assert answer.error["param"] == "generation_config.temperature"


@pytest.mark.settings(MAX_ATTEMPTS=1)
async def test_a_limit_per_minute_is_a_cooldown_of_the_delay(gateway, upstream, alice, token):
    upstream.queue_scripts(
        refuse(429, "RESOURCE_EXHAUSTED", "Quota.", quota("RequestsPerMinute", model=""), RETRY)
    )
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    found = await gateway.read_token_row(token)
    assert found.state == "active"
    rest = found.rests_until - timezone.now()
    assert timedelta(seconds=20) < rest <= timedelta(seconds=35)


@pytest.mark.parametrize("quota_id", ["RequestsPerDayPerProjectPerModel", "PerMinutePerModel"])
@pytest.mark.settings(MAX_ATTEMPTS=1)
async def test_a_limit_of_one_model_leaves_the_others(gateway, upstream, alice, token, quota_id):
    upstream.queue_scripts(
        refuse(429, "RESOURCE_EXHAUSTED", "Quota.", quota(quota_id), RETRY), DONE
    )
    assert (await gateway.request_chat(alice.key)).status == 429
    assert (await gateway.request_chat(alice.key)).status == 429
    assert len(upstream.requests) == 1  # the second was not sent
    assert (await gateway.request_chat(alice.key, model="m25")).text == "Hi"
    assert (await gateway.read_token_row(token)).state == "active"


async def test_a_rejected_key_leaves_the_request_to_the_next_one(
    gateway, upstream, alice, token, provider
):
    await run_in_thread(rows.create_tokens, provider, "sk-up-2")
    await gateway.reload_rows()
    upstream.queue_scripts(refuse(400, "INVALID_ARGUMENT", "API key not valid.", KEY_INVALID), DONE)
    assert (await gateway.request_chat(alice.key)).text == "Hi"
    assert len({request.headers["x-goog-api-key"] for request in upstream.requests}) == 2


@pytest.mark.settings(MAX_ATTEMPTS=1)
async def test_an_error_inside_a_stream_is_one(gateway, upstream, alice, token):
    error = {"error": {"code": 503, "message": "Overloaded sk-up-1.", "status": "UNAVAILABLE"}}
    upstream.queue_scripts(send_stream(make_event(text_part("Hel")), error))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.events[-1]["error"]["code"] == "upstream_failed"
    assert "sk-up-1" not in answer.body.decode()
