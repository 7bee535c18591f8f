"""The list of requests and the page of one in a real browser."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from api.models import UsageRecord
from api.relay.lean_request import new_request_id
from providers.database.database_threads import run_in_thread
from proxysite.testing import browser

pytestmark = browser.MARKS

ATTEMPTS = [
    {"provider": "fake", "model": "big", "token": None, "outcome": "skipped", "status": None}
    | {"reason": "breaker open for 8.5 s: too many failures", "total_ms": 0.01, "start_ms": 3.0},
    {"provider": "fake", "model": "big", "token": None, "outcome": "ServerFailed", "status": 500}
    | {"reason": "it broke", "connect_ms": 40.0, "total_ms": 340.0, "start_ms": 4.0},
    {"provider": "other", "model": "small", "token": None, "outcome": "answered", "status": 200}
    | {"reason": "", "connect_ms": 25.0, "first_byte_ms": 410.0, "total_ms": 1900.0}
    | {"start_ms": 350.0},
]


def create_requests(owner: object) -> list[UsageRecord]:
    """Create requests that ended in every way."""
    now = datetime.now(UTC)
    endings = (
        ("complete", 200, "", 1_250),
        ("error", 503, "provider_unavailable", None),
        ("truncated", 502, "upstream_failed", 800),
        ("abandoned", 499, "", 100),
        ("refused", 429, "rate_limit_exceeded", 0),
        ("interrupted", None, "interrupted", None),
    )
    return [
        UsageRecord.objects.create(
            id=UUID(new_request_id()[4:]),
            started_at=now - timedelta(seconds=number),
            user=owner,
            endpoint="chat/completions",
            model="m",
            client="Codex",
            stream=True,
            status=status,
            http_status=http_status,
            error_code=error_code,
            refused_by="key requests_per_minute" if status == "refused" else "",
            request_count=40 if status == "refused" else 1,
            attempts=ATTEMPTS,
            prompt_tokens=12_345,
            completion_tokens=678,
            cost_micro_usd=cost,
            queue_ms=3.0,
            first_byte_ms=760.0,
            total_ms=2260.0,
        )
        for number, (status, http_status, error_code, cost) in enumerate(endings)
    ]


@pytest.mark.parametrize("size", [browser.DESKTOP, browser.PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("colours", ["light", "dark"])
async def test_requests_are_filtered_opened_and_exported(browse, operator, alice, size, colours):
    await run_in_thread(create_requests, alice.user)
    page = await browse.sign_in("operator")
    await page.set_viewport_size(size)
    await page.emulate_media(color_scheme=colours)
    await browse.open("/admin/api/usagerecord/")
    await browse.check(f"requests-{size['width']}-{colours}")
    await browse.check_accessibility()
    await page.fill("#filter-user", "ali")
    await page.wait_for_selector("#suggest-user option[value=alice]", state="attached")
    await page.fill("#filter-user", "alice")
    await page.check("input[name=status][value=error]")
    await page.click("text=More filters")
    await browse.check(f"more-filters-{size['width']}-{colours}")
    async with page.expect_navigation():
        await page.click(".filter-buttons button")
    assert page.url.endswith("?user=alice&status=error")
    assert await page.locator("#result_list tbody tr").count() == 1
    async with page.expect_download() as download:
        await page.click("text=CSV of all that match")
    file = await (await download.value).path()
    assert len(file.read_text().splitlines()) == 2
    async with page.expect_navigation():
        await page.click("#result_list tbody a")
    await browse.check(f"request-{size['width']}-{colours}")
    await browse.check_accessibility()
    assert await page.locator("svg.waterfall").count() == 1
