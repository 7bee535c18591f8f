"""What the errors of Moonshot and Kimi Code mean, and how Kimi Code is asked."""

import pytest

from api.tests.endpoints.moonshot.moonshot_answers import last_chunk, read_answer, request_chat
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, Provider
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, send_reply, send_stream


@pytest.mark.parametrize(
    ("status", "kind", "shown", "state", "strikes"),
    [
        (401, "invalid_authentication_error", (503, "no_available_token"), "active", 1),
        (401, "incorrect_api_key_error", (503, "no_available_token"), "active", 1),
        (403, "permission_denied_error", (429, "rate_limit_exceeded"), "exhausted", 0),
        (429, "exceeded_current_quota_error", (429, "rate_limit_exceeded"), "exhausted", 0),
        (429, "rate_limit_reached_error", (429, "rate_limit_exceeded"), "active", 0),
        (429, "engine_overloaded_error", (502, "upstream_failed"), "active", 0),
        (400, "content_filter", (400, "content_filter"), "active", 0),
        (400, "context_length_exceeded", (400, "context_length_exceeded"), "active", 0),
        (400, "invalid_request_error", (400, "invalid_value"), "active", 0),
        (404, "resource_not_found_error", (404, "model_not_found"), "active", 0),
        (500, "server_error", (502, "upstream_failed"), "active", 0),
    ],
)
@pytest.mark.settings(MAX_ATTEMPTS=1)
async def test_what_moonshots_errors_mean(
    gateway, upstream, alice, token, status, kind, shown, state, strikes
):
    upstream.queue_scripts(send_reply({"error": {"type": kind, "message": "No."}}, status))
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == shown
    found = await gateway.read_token_row(token)
    assert (found.state, found.strikes) == (state, strikes)


@pytest.mark.parametrize(
    ("status", "message", "shown", "state", "strikes"),
    [
        (401, "Invalid key.", 503, "active", 1),
        (402, "Membership required.", 429, "exhausted", 0),
        (403, "You've reached the usage limit of this billing cycle.", 429, "exhausted", 0),
        (403, "Concurrent request limit reached.", 429, "active", 0),
        (403, "Only available for Coding Agents.", 502, "active", 0),
        (403, "Not yours.", 503, "active", 1),
        (429, "Slow down.", 429, "active", 0),
        (400, "The body is too large.", 400, "active", 0),
    ],
)
@pytest.mark.settings(MAX_ATTEMPTS=1)
async def test_what_kimi_codes_errors_mean(
    gateway, upstream, alice, provider, token, status, message, shown, state, strikes
):
    await run_in_thread(Provider.objects.update, kind="kimi_code")
    await gateway.reload_rows()
    upstream.queue_scripts(
        send_reply({"error": {"type": "permission_error", "message": message}}, status)
    )
    assert (await gateway.request_chat(alice.key)).status == shown
    found = await gateway.read_token_row(token)
    assert (found.state, found.strikes) == (state, strikes)


async def test_kimi_code_is_asked_by_who_asks(gateway, upstream, alice, provider):
    def change():
        Provider.objects.update(kind="kimi_code")
        ChatModel.objects.filter(public_id="m").update(options={"thinking": True})

    await run_in_thread(change)
    await gateway.reload_rows()
    upstream.queue_scripts(send_stream(*speech.content_chunks("Hi"), last_chunk(), DONE))
    answer = await request_chat(gateway, alice.key, True, temperature=0.1)
    assert read_answer(answer) == ("Hi", [], "stop", 15)
    sent = upstream.requests[0]
    assert sent.headers["user-agent"] == "proxysite"
    assert sent.json["thinking"] is True
    assert "temperature" not in sent.json
