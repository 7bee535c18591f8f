"""A person who sees the pages of the desk for the first time, and counts what he clicks."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.people import roles
from proxysite.testing.browser import Browse

MOST_CLICKS = 6
PATIENCE_MS = 5_000


class Stranger:
    """A person who sees the pages for the first time; counts what he clicks."""

    def __init__(self, browse: Browse) -> None:
        self.page = browse.page
        self.clicks = 0
        self.visited: list[str] = []
        self.page.on("framenavigated", lambda frame: self.visited.append(frame.url))

    async def follow(self, name: str) -> None:
        """Click the link of that name; on a phone the menu may have to be opened for it."""
        link = self.page.get_by_role("link", name=name, exact=True, include_hidden=True)
        await link.first.wait_for(state="attached", timeout=PATIENCE_MS)
        if not await link.locator("visible=true").count():
            await self.press("Menu")
        await self._click(link)

    async def follow_in(self, section: str, beginning: str) -> None:
        """Click the first link of a section whose text begins so."""
        panel = self.page.get_by_role("region", name=section)
        await self._click(panel.get_by_role("link", name=re.compile(f"^{beginning}")))

    async def press(self, name: str) -> None:
        """Click the button of that name."""
        await self._click(self.page.get_by_role("button", name=name, exact=True))

    async def tick(self, label: str) -> None:
        await self._click(self.page.get_by_label(label, exact=True))

    async def unfold(self, heading: str) -> None:
        await self._click(self.page.locator("summary", has_text=heading))

    async def choose_file(self, label: str, file: Path) -> None:
        await self.page.get_by_label(label, exact=True).set_input_files(file)
        self.clicks += 1

    async def write(self, label: str, text: str) -> None:
        field = self.page.get_by_label(label, exact=True).locator("visible=true")
        await field.and_(self.page.locator("input, textarea")).fill(text, timeout=PATIENCE_MS)

    async def search(self, text: str, kind: str) -> None:
        """Find the first thing of that kind by the quick search, and open it by Enter."""
        await self._click(self.page.locator("#palette-button"))
        await self.page.get_by_role("searchbox").fill(text)
        await self.page.wait_for_selector(f"#palette-results .is-chosen:has-text('{kind}')")
        async with self.page.expect_navigation():
            await self.page.keyboard.press("Enter")
        self.clicks += 1

    async def see(self, *texts: str) -> None:
        """Wait until the page shows these texts."""
        for text in texts:
            shown = self.page.get_by_text(text).locator("visible=true")
            await shown.first.wait_for(timeout=PATIENCE_MS)

    async def _click(self, target: Any) -> None:
        await target.locator("visible=true").first.click(timeout=PATIENCE_MS)
        self.clicks += 1


@pytest.fixture
async def stranger(
    browse: Browse, operator: object, request: pytest.FixtureRequest
) -> AsyncIterator[Stranger]:
    """Log an operator in, and check at the end that the job took few clicks."""
    await run_in_thread(roles.update_roles)
    await browse.sign_in("operator")
    person = Stranger(browse)
    started = time.monotonic()
    yield person
    seconds = time.monotonic() - started
    await browse.check(request.node.name)
    if file := os.environ.get("JOBS"):
        line = f"{request.node.name} {person.clicks} clicks {seconds:.1f} s\n"
        await asyncio.to_thread(append_line, Path(file), line)
    assert person.clicks <= MOST_CLICKS


def append_line(file: Path, line: str) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(line)
