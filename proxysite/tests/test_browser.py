"""The admin in a real browser: every main page works under its Content-Security-Policy, without an
error in the console. Skipped where no Chromium is installed.
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.models import UsageRecord
from conversations.tests.test_retention import conversation
from providers.database.database_threads import run_in_thread
from providers.deletions import deletion_jobs
from proxysite.testing import rows
from tokens.models import UpstreamToken

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.timeout(240),
    # a browser drops requests when it leaves a page; the files of those answers are closed by the
    # collector
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.filterwarnings(
        "ignore:StreamingHttpResponse must consume:Warning"
    ),  # static files, read in a thread
    pytest.mark.settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]),
]
LISTS = (
    *(
        "api/alertdelivery",
        "api/alertevent",
        "api/apikey",
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
        "providers/modelalias",
    ),
    *("providers/provider", "tokens/upstreamaccount", "tokens/upstreamtoken"),
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
REPORT = """document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`CSP ${event.violatedDirective} ${event.blockedURI} ${event.sample}`))"""
WIDTH, HEIGHT = 1_440, 900


class Browser:
    """One page, and what went wrong in it."""

    def __init__(self, page, url):
        self.page, self.url, self.wrong = page, url, []
        page.on(
            "console", lambda message: message.type == "error" and self.wrong.append(message.text)
        )
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("response", self.see)

    def see(self, response):
        if response.request.resource_type == "document":
            policy = response.headers.get("content-security-policy", "")
            if "default-src 'none'" not in policy or "unsafe" in policy:
                self.wrong.append(f"no strict policy at {response.url}")
        elif response.status >= 400:
            self.wrong.append(f"{response.status} {response.url}")

    async def open(self, path):
        answer = await self.page.goto(f"{self.url}/admin/{path}", wait_until="load")
        assert answer.status == 200, (path, answer.status)
        await self.still(path or "index")

    async def still(self, name):
        """Nothing has gone wrong so far; a picture is kept where PICTURES says."""
        await self.page.evaluate("() => new Promise(requestAnimationFrame)")
        assert not self.wrong, (name, self.wrong)
        if folder := os.environ.get("PICTURES"):
            file = f"{name.strip('/').replace('/', '-')}.png".replace("?", "-")
            await self.page.screenshot(path=Path(folder, file), full_page=True)


@pytest.fixture
async def browser(gateway):
    playwright = pytest.importorskip("playwright.async_api")
    async with playwright.async_playwright() as started:
        chromium = await started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT})
        await context.add_init_script(REPORT)
        yield Browser(await context.new_page(), gateway.url)
        await chromium.close()


async def sign_in(browser, name="operator"):
    await browser.open("login/")
    await browser.page.fill("#id_username", name)
    await browser.page.fill("#id_password", name)
    await browser.page.click("input[type=submit]")
    await browser.page.wait_for_selector(".board")


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


async def test_every_main_page_works_under_its_policy(browser, operator, alice, provider, token):
    talk, record, moved = await run_in_thread(furnish, alice, provider)
    await sign_in(browser)
    await browser.still("index")
    for name in LISTS:
        await browser.open(f"{name}/")
    for name in FORMS:
        await browser.open(f"{name}/add/")
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
        await browser.open(path)


async def test_what_people_do_works_under_the_policy(browser, operator, alice, provider, token):
    await sign_in(browser)
    page = browser.page
    await browser.open("api/apikey/add/")
    await page.click(".field-user .select2-selection")
    await page.keyboard.type("ali")
    await page.click("li.select2-results__option--highlighted")
    await page.click(".field-expires_at .datetimeshortcuts a:has-text('Today')")
    await page.fill("#id_expires_at_1", "23:59:59")
    await page.click("input[name=_save]")
    await page.wait_for_selector("#issued-key")
    await browser.still("issued")
    await page.reload()
    await page.wait_for_selector(".errorlist:visible")
    assert "issued its key already" in await page.inner_text("#content")
    await browser.still("issued-reloaded")

    await browser.open("tokens/upstreamtoken/")
    await page.fill("#searchbar", "sk-up-1")
    await page.click("#changelist-search input[type=submit]")
    await page.wait_for_url(f"**/{token.pk}/change/")
    await browser.still("token-found")

    await browser.open("tokens/upstreamtoken/")
    await page.check("#action-toggle")
    await page.select_option("select[name=action]", "disable_tokens")
    await page.click("button[name=index]")
    await page.wait_for_selector(".success")
    await browser.still("tokens-disabled")
    assert (await run_in_thread(UpstreamToken.objects.get)).state == "disabled"

    await browser.open("")
    await page.click(".theme-toggle")
    await browser.still("index-other-theme")


@pytest.mark.settings(AXES_FAILURE_LIMIT=2)
async def test_the_page_of_a_locked_login_is_a_page(browser, operator):
    for _ in range(2):
        await browser.page.goto(f"{browser.url}/admin/login/")
        await browser.page.fill("#id_username", "operator")
        await browser.page.fill("#id_password", "wrong")
        await browser.page.click("input[type=submit]")
    await browser.page.wait_for_selector("text=Too many logins have failed")
    browser.wrong = [
        text for text in browser.wrong if "429" not in text
    ]  # Chromium notes the status itself
    await browser.still("locked")
