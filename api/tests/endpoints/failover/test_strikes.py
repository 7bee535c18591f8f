"""What a token loses by rejections, and when it stops or starts being used."""

from datetime import UTC, datetime

import pytest

from api.tests.endpoints.chat_messages import list_bearer_tokens
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.upstream import CUT, DONE, Gate, answer_honestly, send_refusal, send_stream
from tokens.models import UpstreamToken


async def test_three_strikes_in_a_row_disable_a_token(gateway, upstream, alice, token):
    for strikes in (1, 2, 3):
        upstream.queue_scripts(send_refusal(401, "gone"))
        assert (await gateway.request_chat(alice.key)).status == 503
        after = await gateway.read_token_row(token)
        assert (after.strikes, after.state) == (strikes, "disabled" if strikes == 3 else "active")
    assert "gone" in after.reason
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (503, "no_available_token")
    assert int(answer.headers["retry-after"]) >= 1
    assert len(upstream.requests) == 3
    assert (await rows.read_usage_records())[-1].attempts[0]["outcome"] == "skipped"


async def test_a_good_answer_wipes_the_strikes_out(gateway, upstream, alice, token):
    for _ in range(3):
        upstream.queue_scripts(send_refusal(401), send_refusal(401), answer_honestly())
        assert [(await gateway.request_chat(alice.key)).status for _ in range(3)] == [503, 503, 200]
        assert (await gateway.read_token_row(token)).strikes == 0
    assert (await gateway.read_token_row(token)).state == "active"


async def test_a_cut_stream_wipes_no_strikes_out(gateway, upstream, alice, token):
    upstream.queue_scripts(
        send_refusal(401), send_stream(*speech.content_chunks("Hello"), upstream.gate, CUT)
    )
    await gateway.request_chat(alice.key)
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until("Hello")
        upstream.gate.open()
        await reading.read_rest()
    assert (await gateway.read_token_row(token)).strikes == 1


async def test_counters_are_written(gateway, upstream, alice, token):
    upstream.queue_scripts(answer_honestly(), send_refusal(429))
    for _ in range(2):
        await gateway.request_chat(alice.key)
    await gateway.restart_server()
    after = await rows.reload_row(token)
    assert (after.requests, after.failures) == (2, 1)
    assert after.last_used_at is not None


@pytest.mark.parametrize("how", ["disabled", "deleted", "expired"])
async def test_a_token_stops_being_used_within_a_second(gateway, upstream, alice, token, how):
    assert (await gateway.request_chat(alice.key)).status == 200
    mine = UpstreamToken.objects.filter(pk=token.pk)
    change = {
        "disabled": lambda: mine.mark_disabled("by hand"),
        "deleted": mine.delete,
        "expired": lambda: mine.update(expires_at=datetime.now(UTC)),
    }
    await run_in_thread(change[how])

    async def refused():
        return (await gateway.request_chat(alice.key)).status == 503

    await wait_until_true(refused, 1.0)
    asked = len(upstream.requests)
    code = "no_upstream_token" if how == "deleted" else "no_available_token"
    assert (await gateway.request_chat(alice.key)).error["code"] == code
    assert len(upstream.requests) == asked


async def test_a_running_stream_outlives_its_token_and_the_next_one_has_another(
    gateway, upstream, alice, three
):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("one"), gate, speech.chat_chunk(finish="stop"), DONE)
    )
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until("one")
        await run_in_thread(three[0].delete)
        await gateway.reload_rows()
        gate.open()
        assert (await reading.read_rest()).is_complete
    assert (await rows.read_only_usage_record()).status == "complete"
    for _ in range(3):
        await gateway.request_chat(alice.key)
    assert "sk-up-1" not in list_bearer_tokens(upstream)[1:]


async def test_a_new_token_is_used_within_a_second(gateway, upstream, alice, token, provider):
    await run_in_thread(token.delete)
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key)).status == 503
    await run_in_thread(rows.create_tokens, provider, "sk-new")

    async def answered():
        return (await gateway.request_chat(alice.key)).status == 200

    await wait_until_true(answered, 1.0)
    assert list_bearer_tokens(upstream) == ["sk-new"]


async def test_a_token_that_cannot_be_opened_is_no_answer_of_the_provider(
    gateway, upstream, alice, three
):
    def swap():
        one, other, _ = UpstreamToken.objects.all()
        UpstreamToken.objects.filter(pk=one.pk).update(sealed=other.sealed)

    await run_in_thread(swap)
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert list_bearer_tokens(upstream) == ["sk-up-2"]
    assert gateway.count_failures() == 0
