"""Take the pictures of docs/screenshots/: pages of a seeded gateway, in Debian's Chromium.

    python -m benchmarks.screenshots [--all --folder FOLDER]

A throw-away home is filled by `benchmarks/seed_large.py`, a gateway serves it, and the pages of
DOCUMENTED are opened, or all PAGES. Look at each picture before it is committed.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZES = {
    "--records": "20000",
    "--tokens": "400",
    "--keys": "60",
    "--users": "25",
    "--conversations": "40",
}
DESKTOP = {"width": 1_440, "height": 900}
PHONE = {"width": 390, "height": 844}
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture; `link` is a selector of the link that leads from `path` to the page."""

    name: str
    path: str
    link: str = ""
    is_dark: bool = False
    is_phone: bool = False


PAGES = (
    Picture("overview", "/admin/"),
    Picture("overview-dark", "/admin/", is_dark=True),
    Picture("overview-phone", "/admin/", is_phone=True),
    Picture("live-board", "/admin/live/"),
    Picture("requests", "/admin/api/usagerecord/"),
    Picture("request", "/admin/api/usagerecord/?status=error", "#content tbody a[href*='change']"),
    Picture("requests-phone", "/admin/api/usagerecord/", is_phone=True),
    Picture("providers", "/admin/providers/provider/"),
    Picture("provider", "/admin/providers/provider/", "#result_list tbody a[href*='change']"),
    Picture("provider-presets", "/admin/providers/provider/add/"),
    Picture("models", "/admin/providers/chatmodel/"),
    Picture("tokens", "/admin/tokens/upstreamtoken/"),
    Picture("token", "/admin/tokens/upstreamtoken/", "#result_list tbody a[href*='change']"),
    Picture("tokens-phone", "/admin/tokens/upstreamtoken/", is_phone=True),
    Picture("import-tokens", "/admin/tokens/upstreamtoken/import/"),
    Picture("keys", "/admin/api/apikey/"),
    Picture("issue-key", "/admin/api/apikey/add/"),
    Picture("user", "/admin/auth/user/", "#result_list tbody a[href*='change']"),
    Picture("roles", "/admin/auth/group/"),
    Picture("audit-log", "/admin/proxysite/auditentry/"),
    Picture("conversations", "/admin/conversations/conversation/"),
    Picture(
        "conversation", "/admin/conversations/conversation/", "#result_list tbody a[href*='change']"
    ),
    Picture("portal", "/portal/"),
    Picture("portal-usage", "/portal/usage/"),
    Picture("portal-phone", "/portal/", is_phone=True),
    Picture("playground", "/playground/"),
    Picture("api-docs", "/api/docs/"),
)
DOCUMENTED = ("overview", "overview-phone", "live-board", "request", "tokens", "conversation")


@contextmanager
def serve_seeded_gateway() -> Iterator[str]:
    """Serve a seeded throw-away gateway; yields its address."""
    with tempfile.TemporaryDirectory(prefix="screenshots-") as home, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        environment = {
            **os.environ,
            "PROXYSITE_HOME": home,
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "PORT": str(port),
        }
        sizes = [word for pair in SIZES.items() for word in pair]
        seed = [sys.executable, "-m", "benchmarks.seed_large", *sizes]
        subprocess.run(seed, env=environment, check=True)
        gateway = subprocess.Popen([sys.executable, "manage.py", "serve"], env=environment)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz")
            yield f"http://127.0.0.1:{port}"
        finally:
            gateway.terminate()
            gateway.wait()


def wait_until_ready(address: str) -> None:
    """Wait until the gateway answers. Raises TimeoutError."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address):
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{address} did not answer within {START_SECONDS:.0f} seconds")


def take_picture(browser: Any, base_url: str, picture: Picture, folder: Path) -> None:
    """Open one page as the administrator, and save its picture."""
    context = browser.new_context(
        viewport=PHONE if picture.is_phone else DESKTOP,
        color_scheme="dark" if picture.is_dark else "light",
        locale="en-US",
        timezone_id="Europe/Vienna",
    )
    page = context.new_page()
    page.goto(f"{base_url}/admin/login/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", "admin")
    page.click("input[type=submit]")
    page.wait_for_selector("#logout-form")
    page.goto(f"{base_url}{picture.path}")
    if picture.link:
        page.locator(picture.link).first.click()
    page.wait_for_load_state("load")
    page.wait_for_timeout(1_500)  # parts that are fetched after the page
    page.screenshot(path=folder / f"{picture.name}.png")
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("docs", "screenshots"))
    parser.add_argument("--url", help="a gateway that was seeded before, with admin / admin")
    parser.add_argument("--all", action="store_true", help="pictures of all pages")
    parser.add_argument("--only", help="names of pictures, with commas")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    wanted = {page.name for page in PAGES} if options.all else set(DOCUMENTED)
    if options.only:
        wanted = set(options.only.split(","))
    if options.url:
        take_pictures(options.url, options.folder, wanted)
        return
    with serve_seeded_gateway() as base_url:
        take_pictures(base_url, options.folder, wanted)


def take_pictures(base_url: str, folder: Path, names: set[str]) -> None:
    """Save the pictures of these names; a page that cannot be opened is named and passed over."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for picture in PAGES:
            if picture.name not in names:
                continue
            try:
                take_picture(browser, base_url, picture, folder)
            except Error as error:
                print(f"{picture.name}: {str(error).splitlines()[0]}")
            else:
                print(picture.name)


if __name__ == "__main__":
    main()
