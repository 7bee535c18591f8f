"""What one process finds out about a provider is a hint for the others, and visible to people."""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import wait_until_true
from proxysite.testing.upstream import answer_honestly, send_refusal
from tokens.models import BreakerState
from tokens.outcomes.breaker_sharing import (
    BreakerChange,
    close_breaker,
    read_breaker_hints,
    write_breaker_changes,
)


async def shut(gateway, upstream, person):
    upstream.set_default_script(send_refusal(500, "The engine is overloaded."))
    while gateway.blocked_seconds() is None:
        await gateway.request_chat(person.key)
    await gateway.inner.breaker_sharing.write_changed_breakers()


async def as_another_process(change):
    """Write a change as another process would."""
    await run_in_thread(write_breaker_changes, [change])
    await run_in_thread(BreakerState.objects.update, process="another")


def opened(provider, seconds=30.0, callers=()):
    return BreakerChange(provider.pk, seconds, None, "failed", "made up", callers)


@pytest.mark.settings(BREAKER_FAILURES=2, BREAKER_SECONDS=30)
async def test_an_open_breaker_is_shown_with_its_reason_until_it_closes(
    gateway, upstream, alice, operator, three
):
    await shut(gateway, upstream, alice)
    shown = (await gateway.send_request("GET", "/admin/tokens/stats", operator.key)).json["data"][
        "providers"
    ]
    (fake,) = [one for one in shown if one["name"] == "fake"]
    assert fake["breaker"].startswith("not asked until ")
    assert fake["breaker"].endswith("The engine is overloaded.")
    assert (await run_in_thread(BreakerState.objects.get)).open_until is not None
    (upstream,) = gateway.list_upstreams()
    gateway.inner.pool.find_breaker(upstream).close_circuit()
    await gateway.inner.breaker_sharing.write_changed_breakers()
    assert (await run_in_thread(BreakerState.objects.get)).open_until is None


async def test_a_breaker_that_another_process_opened_is_open_here_too_and_closes_with_it(
    gateway, upstream, alice, provider
):
    await as_another_process(opened(provider))
    await gateway.reload_rows()
    assert 25 < gateway.blocked_seconds() <= 30
    assert (await gateway.request_chat(alice.key)).error["code"] == "provider_unavailable"
    assert upstream.requests == []
    await as_another_process(BreakerChange(provider.pk, None, None, "failed", "", ()))
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key)).status == 200


async def test_a_hint_is_not_the_truth_where_the_provider_has_just_answered(
    gateway, upstream, alice, provider
):
    assert (await gateway.request_chat(alice.key)).status == 200
    await as_another_process(opened(provider))
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key)).status == 200


async def test_a_change_reaches_the_other_processes_by_itself(gateway, upstream, alice, provider):
    await as_another_process(opened(provider))
    await wait_until_true(lambda: gateway.blocked_seconds() is not None)


async def test_what_one_caller_broke_elsewhere_is_shut_for_that_caller_only(
    gateway, upstream, alice, mallory, provider
):
    upstream.set_default_script(answer_honestly("Hello"))
    await as_another_process(opened(provider, callers=(mallory.user.pk,)))
    await gateway.reload_rows()
    assert (await gateway.request_chat(mallory.key)).status == 503
    assert (await gateway.request_chat(alice.key)).status == 200


async def test_a_process_does_not_hear_itself(gateway, upstream, alice, provider):
    await run_in_thread(write_breaker_changes, [opened(provider)])
    assert await run_in_thread(read_breaker_hints) == []


@pytest.mark.settings(BREAKER_FAILURES=2, BREAKER_SECONDS=30)
async def test_a_person_closes_the_breaker_that_this_process_opened_itself(
    gateway, upstream, alice, three
):
    await shut(gateway, upstream, alice)
    (row,) = gateway.list_upstreams()
    upstream.set_default_script(answer_honestly("Hello"))
    assert await run_in_thread(close_breaker, row.id)
    await gateway.reload_rows()
    assert gateway.blocked_seconds() is None
    assert (await gateway.request_chat(alice.key)).status == 200
    await gateway.inner.breaker_sharing.write_changed_breakers()
    assert (await run_in_thread(BreakerState.objects.get)).open_until is None
    assert not await run_in_thread(close_breaker, row.id)


@pytest.mark.settings(BREAKER_FAILURES=2, BREAKER_SECONDS=30)
async def test_a_breaker_that_a_person_closed_opens_again_when_the_provider_fails_again(
    gateway, upstream, alice, three
):
    await shut(gateway, upstream, alice)
    (row,) = gateway.list_upstreams()
    await run_in_thread(close_breaker, row.id)
    await gateway.reload_rows()
    await shut(gateway, upstream, alice)
    assert (await run_in_thread(BreakerState.objects.get)).open_until is not None
