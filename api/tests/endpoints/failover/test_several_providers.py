"""Several providers of one model: which is asked next, and which failures count against it."""

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import ChatModel
from proxysite.testing import rows
from proxysite.testing.upstream import answer_honestly, send_refusal


async def test_another_token_of_the_provider_is_asked_before_another_provider(
    gateway, upstream, alice, three, second
):
    other, _ = second
    upstream.queue_scripts(send_refusal(500))
    assert (await gateway.request_chat(alice.key)).status == 200
    assert (len(upstream.requests), len(other.requests)) == (2, 0)
    upstream.set_default_script(send_refusal(500))
    assert (await gateway.request_chat(alice.key)).status == 200
    assert len(other.requests) == 1


@pytest.mark.parametrize(("window", "status"), [(4_000, 400), (None, 200), (64_000, 200)])
async def test_a_request_that_is_too_long_goes_to_a_model_with_a_larger_window(
    gateway, upstream, alice, three, second, window, status
):
    other, row = second

    def set_windows():
        ChatModel.objects.exclude(provider=row).update(context_window=8_000)
        ChatModel.objects.filter(provider=row).update(context_window=window)

    await run_in_thread(set_windows)
    await gateway.reload_rows()
    upstream.set_default_script(send_refusal(400, code="context_length_exceeded"))
    answer = await gateway.request_chat(alice.key)
    assert answer.status == status
    assert (len(upstream.requests), len(other.requests)) == (1, int(status == 200))
    if status == 400:
        assert answer.error["code"] == "context_length_exceeded"


@pytest.mark.settings(BREAKER_SECONDS=60, BREAKER_FAILURES=3)
async def test_a_model_that_fails_shuts_its_provider_for_no_other_model(
    gateway, upstream, alice, three, provider
):
    await run_in_thread(rows.create_model, provider, "broken", "broken-upstream")
    await gateway.reload_rows()

    async def script(exchange):
        await (
            send_refusal(503)
            if b"broken-upstream" in exchange.request.body
            else answer_honestly("Hello")
        )(exchange)

    upstream.set_default_script(script)
    for _ in range(6):
        await gateway.request_chat(alice.key, model="broken")
    assert (await gateway.request_chat(alice.key, model="broken")).error[
        "code"
    ] == "provider_unavailable"
    assert (await gateway.request_chat(alice.key)).status == 200
