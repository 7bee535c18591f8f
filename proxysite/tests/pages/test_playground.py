"""The playground in a real browser, with the model `echo` and a scripted upstream."""

import asyncio
import json
import os

import pytest

from api.models import ApiKey, UsageRecord
from conversations.models import Conversation, Turn
from conversations.tests.answered_turns import create_conversation
from providers.database.database_threads import run_in_thread
from proxysite.testing import browser, rows
from proxysite.testing.browser import PHONE
from proxysite.testing.speech import content_chunks
from proxysite.testing.upstream import PAUSE, send_stream

pytestmark = browser.MARKS
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360"
    "000002000001e221bc330000000049454e44ae426082"
)


def create_echo():
    echo = rows.create_provider("", "echo", kind="echo", needs_token=False, models=())
    rows.create_model(echo, "echo", "echo")
    rows.create_model(echo, "echo-2", "echo")


@pytest.fixture
async def playground(browse, gateway, operator):
    """Open the playground with the echo models; the first is chosen."""
    await run_in_thread(create_echo)
    await gateway.reload_rows()
    await browse.sign_in("operator")
    page = await browse.open("/playground/?model=echo")
    await page.wait_for_selector("#playground-models option", state="attached")
    return page


async def wait_for_count(locator, count):
    """Wait until so many elements are there; the policy forbids playwright's own functions."""
    await locator.nth(count - 1).wait_for(state="attached")
    assert await locator.count() == count


async def send(page, text, panes=1):
    await page.fill("#composer-message", text)
    await page.click("#send-message")
    await wait_for_count(page.locator(".pane-facts a"), panes)


async def test_two_models_answer_side_by_side_and_both_are_recorded(browse, playground):
    page = playground
    await page.click("#add-pane")
    await page.fill(".pane:nth-child(2) .pane-model", "echo-2")
    await send(page, "Hello <b>you</b>\n```python\nprint(1)\n```", panes=2)
    answers = page.locator(".message-assistant .message-text")
    await page.wait_for_selector(".message-assistant figure pre")
    assert await answers.count() == 2
    assert "Hello <b>you</b>" in await answers.first.inner_text()
    assert await page.locator(".pane-thread b").count() == 0
    await wait_for_count(page.locator(".pane-facts", has_text="cost unknown"), 2)
    facts = await page.locator(".pane-facts").all_inner_texts()
    assert all("tokens" in text and "first byte" in text for text in facts)
    links = page.locator(".pane-facts a")
    assert await links.count() == 2
    records = await run_in_thread(lambda: list(UsageRecord.objects.order_by("pk")))
    assert {record.model for record in records} == {"echo", "echo-2"}
    key = await run_in_thread(ApiKey.objects.get, name="playground")
    assert {record.key_id for record in records} == {key.pk}
    assert not await run_in_thread(Conversation.objects.exists)
    await browse.check("playground-two")
    await browse.check_accessibility()
    await links.first.click()
    await page.wait_for_url("**/admin/api/usagerecord/**")


async def test_the_code_that_is_copied_runs_in_a_shell(browse, playground):
    page = playground
    await page.click(".playground-settings summary")
    await page.fill("[name=system]", 'It\'s "short" $HOME `x`')
    await page.fill("[name=temperature]", "0.5")
    await send(page, "Grüße aus Graz 'n' $PATH \\ 你好")
    await page.click(".pane-code")
    await page.wait_for_selector("#code-dialog[open]")
    assert "$PROXYSITE_API_KEY" in await page.inner_text("#code-text")
    await browse.check("playground-code")
    await browse.check_accessibility()
    await page.check("[name=with_key]")
    await page.locator("#code-text", has_text="sk-ps-pg-").wait_for()
    command = await page.text_content("#code-text")
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", command, stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]}
    )
    output, _ = await process.communicate()
    pieces = [json.loads(line[6:]) for line in output.decode().splitlines() if "{" in line]
    texts = [piece["choices"][0]["delta"].get("content") or "" for piece in pieces[:-1]]
    assert "".join(texts) == "Grüße aus Graz 'n' $PATH \\ 你好"
    await page.select_option("#code-language", "python")
    code = await page.text_content("#code-text")
    compile(code, "copied.py", "exec")
    assert "temperature=0.5" in code


async def test_each_model_has_its_own_settings_where_they_are_not_shared(browse, playground):
    page = playground
    await page.click(".playground-settings summary")
    await page.fill("#shared-settings [name=seed]", "7")
    await page.uncheck("#share-settings")
    await page.click("#add-pane")
    await page.fill(".pane:nth-child(2) [name=temperature]", "0.25")
    await page.fill(".pane:nth-child(2) [name=schema]", '{"type": "object"}')
    await send(page, "Hello", panes=2)
    codes = []
    for number in (1, 2):
        await page.click(f".pane:nth-child({number}) .pane-code")
        code = await page.text_content("#code-text")
        codes.append(json.loads(code[code.index("{") : code.rindex("}") + 1]))
        await page.click("#code-dialog [data-close]")
    assert [code["seed"] for code in codes] == [7, 7]
    assert [code.get("temperature") for code in codes] == [None, 0.25]
    assert "response_format" not in codes[0]
    assert codes[1]["response_format"]["json_schema"]["schema"] == {"type": "object"}
    await browse.check("playground-own-settings")
    await browse.check_accessibility()
    await page.fill(".pane:nth-child(2) [name=schema]", "{")
    await page.fill("#composer-message", "More")
    await page.click("#send-message")
    await page.locator(".pane:nth-child(2) .notice-bad", has_text="not valid JSON").wait_for()


async def test_a_tool_call_is_shown_and_its_result_is_typed(browse, playground):
    page = playground
    await page.click(".playground-settings summary")
    await page.fill("[name=tools]", '[{"name": "weather", "parameters": {"type": "object"}}]')
    await send(page, '<tool_call>{"name": "weather", "arguments": {"city": "Graz"}}</tool_call>')
    await page.wait_for_selector(".tool-results")
    assert '"city": "Graz"' in await page.inner_text(".tool-call pre")
    await page.fill(".tool-results textarea", "sunny")
    await browse.check("playground-tools")
    await browse.check_accessibility()
    await page.click(".tool-results button")
    await wait_for_count(page.locator(".message-assistant"), 2)
    assert "sunny" in await page.inner_text(".message-tool")


async def test_an_image_is_sent_with_the_message(browse, playground):
    page = playground
    await page.set_input_files(
        "#composer-files",
        [
            {"name": "dot.png", "mimeType": "image/png", "buffer": PIXEL},
            {"name": "note.txt", "mimeType": "text/plain", "buffer": b"a note"},
        ],
    )
    assert await page.locator("#composer-list li").count() == 2
    await page.click("#composer-list li:last-child button")
    await send(page, "Look at this")
    assert await page.locator(".message-user img").count() == 1
    await page.click(".pane-code")
    assert "data:image/png;base64," in await page.text_content("#code-text")
    await browse.check("playground-image")


async def test_a_message_is_edited_and_what_followed_it_is_gone(browse, playground):
    page = playground
    await send(page, "One")
    await page.fill("#composer-message", "Two")
    await page.click("#send-message")
    await wait_for_count(page.locator(".message-assistant", has_text="Two"), 1)
    await page.locator(".message-user button").first.click()
    assert await page.input_value("#composer-message") == "One"
    assert await page.locator(".message").count() == 0
    await send(page, "Another one")
    await wait_for_count(page.locator(".message-assistant", has_text="Another one"), 1)
    await browse.check("playground-edited")


async def test_an_answer_is_stopped_and_the_error_is_shown_as_it_came(
    browse,
    playground,
    upstream,
):
    page = playground
    upstream.queue_scripts(send_stream(*content_chunks("Hel", "lo"), PAUSE))
    await page.fill(".pane-model", "m")
    await page.fill("#composer-message", "Begin")
    await page.click("#send-message")
    await page.locator(".message-assistant .message-text", has_text="Hel").wait_for()
    await page.click("#stop-panes")
    await page.wait_for_selector(".message-assistant .notice-wait")
    assert "Hel" in await page.inner_text(".message-assistant .message-text")
    await browse.check("playground-stopped")
    await page.fill(".pane-model", "no-such-model")
    await page.click(".pane-again")
    await page.wait_for_selector(".notice-bad")
    assert "no-such-model" in await page.inner_text(".notice-bad")
    assert "invalid_request_error" in await page.text_content(".notice-bad pre")


async def test_a_stored_turn_is_run_again_beside_its_answer(
    browse,
    gateway,
    operator,
    alice,
):
    await run_in_thread(create_echo)
    await gateway.reload_rows()
    row = await run_in_thread(create_conversation, alice.user, 2)
    turn = await run_in_thread(row.turns.get, number=2)
    await browse.sign_in("operator")
    page = await browse.open(f"/playground/?turn={turn.pk.hex}")
    await page.wait_for_selector(".pane-stored .message-assistant")
    await page.fill(".pane:not(.pane-stored) .pane-model", "echo")
    await page.click("#send-message")
    await page.wait_for_selector(".pane:not(.pane-stored) .pane-facts a")
    assert "answer 2" in await page.inner_text(".pane-stored .message-assistant:last-child")
    answers = page.locator(".pane:not(.pane-stored) .message-assistant")
    assert "question 2" in await answers.last.inner_text()
    await browse.check("playground-rerun")
    await browse.check_accessibility()
    await page.click("#compare-answers")
    assert await page.inner_text("#compare-text del") == "answer"
    assert await page.inner_text("#compare-text ins") == "question"
    await browse.check("playground-differences")
    await browse.check_accessibility()
    assert await run_in_thread(Turn.objects.count) == 2
    record = await rows.read_only_usage_record()
    assert record.user_id == operator.user.pk


@pytest.mark.parametrize("browse", [PHONE], indirect=True)
async def test_it_works_on_a_phone_and_with_the_keyboard(browse, playground):
    page = playground
    await page.focus("#composer-message")
    await page.keyboard.type("Hello")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".pane-facts a")
    await browse.check("playground-phone")
    await browse.check_accessibility()
