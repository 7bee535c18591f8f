"""Alerts about limits, as requests cause them."""

from datetime import UTC, datetime

import pytest

from api.models import AlertEvent, LimitSet, Price
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech, wait_until_true
from proxysite.testing.rows import Person
from proxysite.testing.upstream import send_reply


def read_alerts() -> set[tuple[str, str, str]]:
    return set(AlertEvent.objects.values_list("kind", "subject_kind", "limit_name"))


@pytest.fixture
def budget_of_user(alice: Person, provider) -> LimitSet:
    Price.objects.create(
        provider=provider,
        upstream_model=provider.models.get().upstream_name,
        valid_from=datetime(2020, 1, 1, tzinfo=UTC),
        prompt_usd=1_000,
        completion_usd=1_000,
    )
    return LimitSet.objects.create(user=alice.user, month_budget_usd=1)


async def test_a_budget_is_reported_at_80_per_cent_and_when_it_is_spent(
    budget_of_user, gateway, upstream, alice
):
    usage = speech.token_usage(300, 100)
    upstream.queue_scripts(*[send_reply(speech.chat_completion(usage=usage))] * 3)

    async def ask() -> int:
        return (await gateway.request_chat(alice.key, max_tokens=100)).status

    async def has_alerts(*kinds: str) -> bool:
        await gateway.inner.alerts.write_waiting()
        alerts = await run_in_thread(read_alerts)
        return alerts == {(kind, "user", "month_budget_usd") for kind in kinds}

    assert await ask() == 200
    await gateway.inner.limits.look_up(())
    assert await has_alerts()
    assert await ask() == 200
    await wait_until_true(lambda: has_alerts("budget_80"))
    assert await ask() == 200
    await wait_until_true(lambda: has_alerts("budget_80", "budget_100"))
    for _ in range(3):
        assert await ask() == 429
    await wait_until_true(lambda: has_alerts("budget_80", "budget_100", "limit_hit"))
    [spent] = await run_in_thread(
        lambda: list(AlertEvent.objects.filter(kind="budget_100").values_list("facts", "period"))
    )
    assert spent[0]["limit"] == "1"
    assert spent[1] == f"{datetime.now(UTC):%Y-%m}"
