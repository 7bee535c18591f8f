"""A real browser for tests of pages: Debian's Chromium, driven by playwright.

The fixture `browse` opens it on the running gateway. It is skipped where no Chromium is installed.

    async def test_a_page(browse, operator):
        page = await browse.sign_in("operator")        # a playwright page, logged in
        await browse.open("/admin/api/apikey/")        # status 200, and nothing is wrong
        await page.click("text=Issue")
        await browse.check("issued")                   # nothing has gone wrong so far
        await browse.check_accessibility()             # axe: no finding of level serious

"Wrong" is an error in the console, a report of the Content-Security-Policy, an answer of 400 or
more, a page without a strict policy, a request to another host, or a page that is wider than the
window. `PICTURES=folder` keeps a picture of each page that `open` and `check` saw.
"""

import os
import shutil
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.async_api import ConsoleMessage, Page, Request, Response

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
POLICY_REPORT = """document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`CSP ${event.violatedDirective} ${event.blockedURI} ${event.sample}`))"""
# the elements that make the page wider than the window; those in a part that scrolls do not
FIND_WIDE = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const scrolls = (element) => element.closest(".table-wrap, .results, .inline-group, pre");
    return [...document.querySelectorAll("body *")]
        .filter((element) => element.getBoundingClientRect().right > width && !scrolls(element))
        .map((element) => `${element.tagName}.${element.className} ${element.id}`)
        .slice(0, 12);
}"""
DESKTOP = {"width": 1_440, "height": 900}
PHONE = {"width": 390, "height": 844}
SERIOUS = ("serious", "critical")

# marks of a module of browser tests: `pytestmark = browser.MARKS`
MARKS = [
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


class Browse:
    """One page of a browser, and what went wrong in it."""

    def __init__(self, page: "Page", url: str) -> None:
        self.page = page
        self.url = url
        self.wrong: list[str] = []
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("response", self._note_response)
        page.on("request", self._note_request)

    def _note_console(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self.wrong.append(message.text)

    def _note_request(self, request: "Request") -> None:
        address = urlsplit(request.url)
        own = urlsplit(self.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.netloc != own.netloc:
            self.wrong.append(f"a request to another host: {request.url}")

    def _note_response(self, response: "Response") -> None:
        if response.request.resource_type == "document":
            policy = response.headers.get("content-security-policy", "")
            if "default-src 'none'" not in policy or "unsafe" in policy:
                self.wrong.append(f"no strict policy at {response.url}")
        elif response.status >= 400:
            self.wrong.append(f"{response.status} {response.url}")

    async def open(self, path: str, status: int = 200) -> "Page":
        """Open an address, check its status, and that nothing is wrong."""
        answer = await self.page.goto(f"{self.url}{path}", wait_until="load")
        assert answer is not None
        assert answer.status == status, (path, answer.status)
        if status >= 400:  # Chromium notes the status itself
            self.wrong = [text for text in self.wrong if "Failed to load resource" not in text]
        await self.check(path)
        return self.page

    async def sign_in(self, name: str, password: str | None = None) -> "Page":
        """Log in by the admin's form; `rows.create_person` makes the name the password."""
        await self.open("/admin/login/")
        await self.page.fill("#id_username", name)
        await self.page.fill("#id_password", password or name)
        await self.page.click("input[type=submit]")
        await self.page.wait_for_selector("#logout-form")
        return self.page

    async def check(self, name: str) -> None:
        """Fail if anything has gone wrong so far; keep a picture where PICTURES says."""
        await self.check_errors(name)
        if folder := os.environ.get("PICTURES"):
            file = f"{name.strip('/').replace('/', '-') or 'index'}.png".replace("?", "-")
            await self.page.screenshot(path=Path(folder, file), full_page=True)
        assert await self.page.evaluate(FIND_WIDE) == [], (name, "is wider than the window")

    async def check_errors(self, name: str) -> None:
        """Fail if anything has gone wrong so far."""
        await self.page.evaluate("() => new Promise(requestAnimationFrame)")
        assert not self.wrong, (name, self.wrong)

    async def check_accessibility(self) -> None:
        """Fail if axe finds anything of level serious or critical on the page as it is."""
        await self.check_errors("before axe")
        await self.page.evaluate(read_axe())
        result = await self.page.evaluate("() => axe.run({resultTypes: ['violations']})")
        violations = [one for one in result["violations"] if one["impact"] in SERIOUS]
        found = [describe_finding(one) for one in violations]
        await self.page.evaluate("() => new Promise(requestAnimationFrame)")
        self.wrong.clear()  # axe itself adds an inline style, which the policy refuses
        assert not found, (self.page.url, found)


@cache
def read_axe() -> str:
    """Return the script of axe, which comes with a package of the tests."""
    from axe_playwright_python.base import AXE_FILE_PATH

    return Path(AXE_FILE_PATH).read_text(encoding="utf-8")


def describe_finding(violation: dict[str, Any]) -> str:
    """Return a finding of axe in one line, with the first elements that it is about."""
    places = [" ".join(map(str, node["target"])) for node in violation["nodes"][:4]]
    return f"{violation['impact']} {violation['id']}: {violation['help']} at {places}"


@pytest.fixture(params=[DESKTOP])
async def browse(request: pytest.FixtureRequest, gateway: Any) -> AsyncIterator[Browse]:
    """Open a browser on the gateway.

    `@pytest.mark.parametrize("browse", [PHONE], indirect=True)` gives it the width of a phone.
    """
    from playwright.async_api import async_playwright

    async with async_playwright() as started:
        chromium = await started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await chromium.new_context(viewport=request.param, locale="en-US")
        await context.add_init_script(POLICY_REPORT)
        yield Browse(await context.new_page(), gateway.url)
        await chromium.close()
