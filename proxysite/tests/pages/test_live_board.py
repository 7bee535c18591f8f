"""The live board in a browser: news within a second, and a log that holds still."""

import asyncio

import pytest
from django.contrib.sessions.models import Session

from providers.database.database_threads import run_in_thread
from providers.task_progress import create_progress, update_progress
from proxysite.testing import browser
from proxysite.testing.browser import PHONE
from proxysite.testing.speech import streamed_completion
from proxysite.testing.upstream import DONE, Gate, keep_silent, send_stream
from tokens.models import State, UpstreamToken

pytestmark = browser.MARKS
SECOND = 1_500  # milliseconds; one second is promised, and the test's machine may be busy


NO_WEBSOCKET = """window.WebSocket = class extends EventTarget {
    constructor() {
        super();
        setTimeout(() => this.dispatchEvent(new CloseEvent("close", {code: 1006})));
    }
    close() {}
}"""


async def open_board(browse):
    await browse.sign_in("operator")
    page = await browse.open("/admin/live/")
    await page.wait_for_selector("#live-link[data-state=live]")
    return page


async def test_a_request_appears_within_a_second_and_moves_to_the_finished_ones(
    browse, operator, alice, gateway, upstream
):
    page = await open_board(browse)
    gate = Gate()
    first, *rest = streamed_completion("Hello", " there")
    upstream.queue_scripts(send_stream(first, rest[0], gate, *rest[1:], DONE))
    asked = asyncio.create_task(gateway.request_chat(alice.key, stream=True))
    await gate.wait_until_reached()
    row = page.locator("#live-running tr")
    await row.wait_for(timeout=SECOND)
    await page.wait_for_selector("#live-running .badge:has-text('streaming')", timeout=SECOND)
    assert "alice" in await row.inner_text()
    await browse.check_accessibility()
    gate.open()
    await asked
    finished = page.locator("#live-finished tr")
    await finished.wait_for(timeout=SECOND)
    assert "complete" in await finished.inner_text()
    assert await page.locator("#live-running tr").count() == 0
    await browse.check("live-finished")
    await finished.locator("a").click()
    await page.wait_for_url("**/api/usagerecord/*/change/")


@pytest.mark.parametrize("browse", [PHONE], indirect=True)
async def test_the_board_fits_a_phone_and_shows_tasks_and_tokens(
    browse, operator, alice, gateway, token
):
    page = await open_board(browse)
    await gateway.request_chat(alice.key)
    rows = UpstreamToken.objects.filter(pk=token.pk)
    await run_in_thread(rows.update, state=State.DISABLED, reason="<b>by hand</b>")
    task = await run_in_thread(create_progress, "token import", "Import of keys.txt", total=10)
    await run_in_thread(update_progress, task.pk, 4, text="Writing")
    await page.wait_for_selector("#live-finished tr")
    await page.wait_for_selector("#live-changes li:has-text('<b>by hand</b>')")
    await page.wait_for_selector("#live-tasks progress[value='4']")
    await browse.check("live-phone")
    await browse.check_accessibility()
    await page.click("#live-tasks a")
    await page.wait_for_selector(".task-progress progress")
    await browse.check("task-phone")
    await browse.check_accessibility()


async def test_a_paused_log_holds_still_and_says_how_many_are_new(browse, operator, alice, gateway):
    page = await open_board(browse)
    await gateway.request_chat(alice.key)
    await page.wait_for_selector("#live-finished tr")
    await page.click("#live-pause")
    await gateway.request_chat(alice.key)
    await gateway.request_chat(alice.key)
    await page.wait_for_selector("#live-new:has-text('2 new')")
    assert await page.locator("#live-finished tr").count() == 1
    await page.click("#live-new")
    assert await page.locator("#live-finished tr").count() == 3
    await page.click("#live-pause")
    await gateway.request_chat(alice.key)
    await page.locator("#live-finished tr").nth(3).wait_for()
    await browse.check("live-log")


async def test_a_scrolled_log_holds_still_too(browse, operator, alice, gateway):
    for _ in range(30):
        await gateway.request_chat(alice.key)
    page = await open_board(browse)
    box = page.locator("#live-finished-box")
    await page.locator("#live-finished tr").nth(29).wait_for()
    await box.evaluate("box => { box.scrollTop = 200; }")
    await gateway.request_chat(alice.key)
    await page.wait_for_selector("#live-new:has-text('1 new')")
    assert await box.evaluate("box => box.scrollTop") == 200
    await box.evaluate("box => { box.scrollTop = 0; }")
    await page.locator("#live-finished tr").nth(30).wait_for()
    assert await page.locator("#live-new").is_hidden()


async def test_without_a_websocket_the_board_polls(browse, operator, alice, gateway, upstream):
    await browse.page.add_init_script(NO_WEBSOCKET)
    await browse.sign_in("operator")
    page = await browse.open("/admin/live/")
    await page.wait_for_selector("#live-link[data-state=polling]")
    upstream.queue_scripts(keep_silent)
    asked = asyncio.create_task(gateway.request_chat(alice.key))
    await page.wait_for_selector("#live-running tr")
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await browse.check("live-polling")


@pytest.mark.settings(LIVE_RECHECK_SECONDS=0.01)
async def test_whoever_is_logged_out_is_told_so(browse, operator, gateway):
    page = await open_board(browse)
    await run_in_thread(Session.objects.all().delete)
    await page.wait_for_selector("#live-link[data-state=forbidden]")
    assert "next=/admin/live/" in await page.get_attribute("#live-notes a", "href")
