"""The admin in a real browser: every main page works under its Content-Security-Policy, without an
error in the console. Skipped where no Chromium is installed.
"""

from datetime import UTC, datetime

import pytest

from api.models import UsageRecord
from conversations.tests.test_retention import conversation
from providers.database.database_threads import run_in_thread
from providers.deletions import deletion_jobs
from proxysite.testing import browser, rows
from tokens.models import UpstreamToken

pytestmark = browser.MARKS
LISTS = (
    *(
        "api/alertdelivery",
        "api/alertevent",
        "api/apikey",
        "api/batch",
        "api/team",
        "api/usagerecord",
        "auth/group",
        "auth/user",
        "axes/accessattempt",
        "axes/accesslog",
    ),
    *("conversations/conversation", "conversations/document", "conversations/storedfile"),
    *(
        "providers/virtualmodel",
        "providers/chatmodel",
        "providers/deletion",
        "providers/mcpserver",
        "providers/modelalias",
    ),
    *("providers/provider", "tokens/importbatch"),
    *("tokens/upstreamaccount", "tokens/upstreamtoken"),
    *("django_celery_beat/periodictask", "django_celery_beat/intervalschedule"),
)
FORMS = (
    "api/apikey",
    "api/team",
    "auth/user",
    "conversations/document",
    "providers/provider",
    "tokens/upstreamtoken",
)


def furnish(person, provider):
    rows.create_tokens(provider, "sk-resting-000000000000", state="disabled")
    away = rows.create_provider("https://a.example/v1", "moved")
    rows.create_tokens(away, "sk-moved-00000000000001")
    away.base_url = "https://b.example/v1"
    away.save()
    rows.create_provider("https://c.example/v1", "free", needs_token=False, models=())
    talk = conversation(person.user)
    fields = {
        "endpoint": "chat/completions",
        "model": "m",
        "stream": False,
        "status": "error",
        "error_code": "x",
    }
    record = UsageRecord.objects.create(
        user=person.user, started_at=datetime.now(UTC), provider=provider, **fields
    )
    gone = rows.create_person("gone")
    UsageRecord.objects.create(
        user=gone.user, started_at=datetime.now(UTC), provider=provider, **fields
    )
    deletion_jobs.create_deletions([gone.user], "operator")
    return talk, record, away


@pytest.mark.parametrize("browse", [browser.DESKTOP, browser.PHONE], indirect=True)
async def test_every_main_page_works_under_its_policy(browse, operator, alice, provider, token):
    talk, record, moved = await run_in_thread(furnish, alice, provider)
    await browse.sign_in("operator")
    await browse.check("index")
    for name in LISTS:
        await browse.open(f"/admin/{name}/")
        await browse.check_accessibility()
    for name in FORMS:
        await browse.open(f"/admin/{name}/add/")
        await browse.check_accessibility()
    for path in (
        f"providers/provider/{moved.pk}/change/",
        f"providers/provider/{moved.pk}/confirm/",
        f"providers/provider/{provider.pk}/delete/",
        f"providers/provider/{provider.pk}/history/",
        f"tokens/upstreamtoken/{token.pk}/change/",
        f"auth/user/{alice.user.pk}/change/",
        f"auth/user/{alice.user.pk}/password/",
        f"auth/user/{alice.user.pk}/delete/",
        f"api/usagerecord/{record.pk}/change/",
        f"api/apikey/{alice.row.pk}/change/",
        f"conversations/conversation/{talk.pk.replace('_', '_5F')}/change/",
        "password_change/",
    ):
        await browse.open(f"/admin/{path}")
        await browse.check_accessibility()


async def test_what_people_do_works_under_the_policy(browse, operator, alice, provider, token):
    await browse.sign_in("operator")
    page = browse.page
    await browse.open("/admin/api/apikey/add/")
    await page.click(".field-user .select2-selection")
    await page.keyboard.type("ali")
    await page.click("li.select2-results__option--highlighted")
    await page.fill("#id_expires_at", "in 30 days")
    await page.click("input[name=_save]")
    await page.wait_for_selector("#issued-key")
    await browse.check("issued")
    await page.reload()
    await page.wait_for_selector(".errorlist:visible")
    assert "issued its key already" in await page.inner_text("#content")
    await browse.check("issued-reloaded")

    await browse.open("/admin/tokens/upstreamtoken/")
    await page.fill("#searchbar", "sk-up-1")
    await page.click("#changelist-search input[type=submit]")
    await page.wait_for_url(f"**/{token.pk}/change/")
    await browse.check("token-found")

    await browse.open("/admin/tokens/upstreamtoken/")
    await page.check("#action-toggle")
    await page.select_option("select[name=action]", "disable_tokens")
    await page.click("button[name=index]")
    await page.wait_for_selector(".success")
    await browse.check("tokens-disabled")
    assert (await run_in_thread(UpstreamToken.objects.get)).state == "disabled"

    await browse.open("/admin/")
    await page.click(".theme-toggle")
    await browse.check("index-other-theme")


@pytest.mark.settings(AXES_FAILURE_LIMIT=2)
async def test_the_page_of_a_locked_login_is_a_page(browse, operator):
    for _ in range(2):
        await browse.page.goto(f"{browse.url}/admin/login/")
        await browse.page.fill("#id_username", "operator")
        await browse.page.fill("#id_password", "wrong")
        await browse.page.click("input[type=submit]")
    await browse.page.wait_for_selector("text=Too many logins have failed")
    browse.wrong = [
        text for text in browse.wrong if "429" not in text
    ]  # Chromium notes the status itself
    await browse.check("locked")
