"""The overview in a real browser: wide and on a phone, with trouble, and with nothing at all."""

from datetime import timedelta

import pytest
from django.utils import timezone

from api.models import UsageRecord
from providers.database.database_threads import run_in_thread
from proxysite.testing import browser, rows
from tokens.models import BreakerState, UpstreamToken

pytestmark = browser.MARKS


def create_trouble(person, provider):
    """Write tokens, an open breaker and requests of all kinds."""
    rows.create_tokens(provider, "sk-rejected-0000000000", "sk-rejected-0000000001")
    UpstreamToken.objects.filter(masked__contains="sk-rej").add_strike(1, "auth: wrong key")
    now = timezone.now()
    BreakerState.objects.create(
        provider=provider,
        open_until=now + timedelta(minutes=5),
        opened_at=now,
        changed_at=now,
        cause="failures",
        reason="The engine is overloaded",
        process="p",
    )
    for number in range(20):
        UsageRecord.objects.create(
            started_at=now - timedelta(minutes=number),
            key=person.row,
            user=person.user,
            provider=provider,
            endpoint="chat/completions",
            model="m",
            stream=True,
            status="complete" if number % 4 else "error",
            http_status=200 if number % 4 else (400, 500, 502)[number % 3],
            error_code="" if number % 4 else "odd",
            prompt_tokens=100 * number,
            completion_tokens=10,
            cost_micro_usd=1_000 * number if number % 2 else None,
            first_byte_ms=300 + number,
            total_ms=2_000,
        )


@pytest.fixture
async def operator(gateway):
    return await run_in_thread(rows.create_person, "operator", is_staff=True, is_superuser=True)


@pytest.mark.parametrize("browse", [browser.DESKTOP, browser.PHONE], indirect=True)
async def test_the_overview_with_trouble(browse, operator, provider):
    await run_in_thread(create_trouble, operator, provider)
    page = await browse.sign_in("operator")
    for name in ("1h", "24h", "7d", "30d"):
        await browse.open(f"/admin/?range={name}")
        assert await page.locator("svg.chart").count() == 4
        await page.wait_for_selector("text=Keys with the most requests")
    await page.click("text=1 hour")
    assert page.url.endswith("?range=1h")
    await browse.check_accessibility()
    await page.click("button:has-text('Reset them')")
    await page.wait_for_selector("text=2 tokens are active again.")
    assert await page.locator("text=tokens are disabled").count() == 0
    await page.reload()
    await browse.check("after a reload")


async def test_the_guide_notices_the_first_request(browse, operator, provider):
    page = await browse.sign_in("operator")
    await browse.open("/admin/")
    await page.wait_for_selector("text=Waiting for the first request")
    await browse.check_accessibility()
    await browse.open("/admin/")
    await run_in_thread(
        UsageRecord.objects.create,
        started_at=timezone.now(),
        endpoint="chat/completions",
        model="m",
        stream=False,
        status="complete",
    )
    await page.wait_for_selector("text=The first request was answered", timeout=20_000)
    await browse.check("noticed")
