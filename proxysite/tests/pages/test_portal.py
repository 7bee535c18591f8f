"""The portal in a real browser: every page, on a desktop and a phone, and what people do there."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission

from api.invitations.invitation_links import give_secret, make_link_path
from api.models import Invitation, LimitSet, UsageRecord
from api.tests.portal.conftest import create_conversation
from conversations.models import StoredFile
from providers.database.database_threads import run_in_thread
from proxysite.testing import browser

pytestmark = browser.MARKS
PAGES = (
    "",
    "keys/",
    "keys/new/",
    "usage/",
    "requests/",
    "conversations/",
    "conversations/?q=Graz",
    "conversations/delete/",
    "files/",
    "models/",
    "clients/",
    "account/",
    "password/",
)


def furnish(person):
    """Give the user a right, limits, requests of a month, a conversation and a file."""
    user = person.user
    user.user_permissions.add(Permission.objects.get(codename="issue_own_keys"))
    LimitSet.objects.create(user=user, requests_per_minute=60, month_budget_usd=20)
    LimitSet.objects.create(key=person.row, day_budget_usd=2)
    now = datetime.now(UTC)
    for number in range(40):
        failed = number % 9 == 4
        UsageRecord.objects.create(
            user=user,
            key=person.row,
            started_at=now - timedelta(hours=17 * number),
            endpoint="chat/completions",
            model=("gpt-5-mini", "kimi-k2", "a-model-with-a-very-long-name-of-its-own")[number % 3],
            stream=True,
            status="error" if failed else "complete",
            http_status=429 if failed else 200,
            error_code="rate_limit_exceeded" if failed else "",
            prompt_tokens=900 + 35 * number,
            completion_tokens=0 if failed else 210,
            cost_micro_usd=None if number == 7 else 1_250 * number,
            first_byte_ms=410,
            total_ms=2_350,
            attempts=[{"provider": "acme", "model": "m", "status": 200, "outcome": "answered"}],
        )
    StoredFile.objects.create(
        user=user, filename="report.pdf", purpose="user_data", size_bytes=123_456, sha256="0" * 64
    )
    return create_conversation(user, "Where is Graz? <b>Tell me</b>", "In Styria.\n\n```\nx\n```")


async def sign_in(browse, name):
    await browse.open("/portal/login/")
    await browse.page.fill("#id_username", name)
    await browse.page.fill("#id_password", name)
    await browse.page.click("main button[type=submit]")
    await browse.page.wait_for_selector("nav.tabs")


def list_pages(person, talk):
    """Return the paths of all pages of the user."""
    record = UsageRecord.objects.filter(status="error").first()
    return (
        *PAGES,
        f"keys/{person.row.pk}/",
        f"requests/{record}/",
        f"conversations/{talk.pk}/",
        f"conversations/{talk.pk}/delete/",
    )


async def test_every_page_works_under_its_policy_and_for_everybody(browse, alice, provider):
    talk = await run_in_thread(furnish, alice)
    await browse.open("/portal/login/")
    await browse.check_accessibility()
    await sign_in(browse, "alice")
    for path in await run_in_thread(list_pages, alice, talk):
        await browse.open(f"/portal/{path}")
        await browse.check_accessibility()


@pytest.mark.parametrize("browse", [browser.PHONE], indirect=True)
async def test_every_page_fits_a_phone_and_the_dark(browse, alice, provider):
    talk = await run_in_thread(furnish, alice)
    await sign_in(browse, "alice")
    await browse.page.click(".theme-toggle")
    for path in await run_in_thread(list_pages, alice, talk):
        await browse.open(f"/portal/{path}")
    for path in ("usage/", f"conversations/{talk.pk}/"):
        await browse.open(f"/portal/{path}")
        await browse.check_accessibility()


async def test_an_invited_person_has_a_working_key_in_three_clicks(browse, provider, gateway):
    def invite():
        row = Invitation(name="x", expires_at=datetime.now(UTC) + timedelta(days=1))
        path = make_link_path(give_secret(row))
        row.save()
        return path

    path = await run_in_thread(invite)
    page = await browse.open(path)
    await browse.check_accessibility()
    await page.fill("#id_username", "carol")
    await page.fill("#id_password1", "correct horse battery")
    await page.fill("#id_password2", "correct horse battery")
    await page.click("main button[type=submit]")
    await page.wait_for_selector("#issued-key")
    await browse.check("portal-first-key")
    key = (await page.inner_text("#issued-key")).strip()
    answer = await gateway.request_chat(key)
    assert answer.status == 200
    await browse.open("/portal/requests/")
    assert await page.locator("tbody tr").count() == 1


async def test_limits_left_are_those_that_the_api_tells(browse, alice, provider, gateway):
    await run_in_thread(furnish, alice)
    answer = await gateway.request_chat(alice.key)
    assert answer.status == 200
    told = (await gateway.send_request("GET", "/v1/key", alice.key)).json["limits"]
    (rate,) = [one for one in told if one["limit"] == "requests_per_minute"]
    await sign_in(browse, "alice")
    page = await browse.open("/portal/usage/")
    row = page.locator("tr", has_text="Requests per minute")
    assert await row.locator("td.number").nth(1).inner_text() == str(rate["left"])
    async with page.expect_download() as started:
        await page.goto(f"{browse.url}/portal/requests/")
        await page.click("text=Download as CSV")
    file = await (await started.value).path()
    assert len(file.read_text().splitlines()) == 42, "the names, 40 requests and the new one"


async def test_a_key_is_issued_copied_and_gone_after_a_reload(browse, alice, provider):
    await run_in_thread(furnish, alice)
    await sign_in(browse, "alice")
    page = await browse.open("/portal/keys/")
    await page.click("text=Issue a key")
    await page.fill("#id_name", "laptop")
    await page.click("main button[type=submit]")
    await page.wait_for_selector("#issued-key")
    await browse.check("portal-issued-key")
    await page.click("[data-copy='#issued-key']")
    await page.reload()
    assert await page.locator("#issued-key").count() == 0
    assert "sent twice" in await page.inner_text("main")
