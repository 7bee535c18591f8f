"""The pages of conversations in a real browser: the list with its search, the thread, deletion."""

import pytest

from conversations.models import Conversation, Document
from conversations.tests.answered_turns import create_conversation, create_item
from providers.database.database_threads import run_in_thread
from proxysite.testing import browser
from proxysite.testing.browser import DESKTOP, PHONE

pytestmark = browser.MARKS
ANSWER = "We take the train to Graz:\n\n```python\nprint('<b>Graz</b>')\n```\nand <i>walk</i>."
LIST = "/admin/conversations/conversation/"


def create_talk(person):
    """Create a conversation with everything that a thread shows; return its row."""
    usage = {"prompt_tokens": 1_200, "completion_tokens": 345}
    row = create_conversation(person.user, 4, title="A trip", turn_fields={"usage": usage})
    turn = row.turns.get(number=3)
    call = {"type": "function_call", "call_id": "c1", "name": "trains"}
    call["arguments"] = '{"to": "Graz", "day": "Monday"}'
    create_item(turn, "I have to look for trains.", "reasoning", output=True)
    create_item(turn, 'trains({"to": "Graz"})', "function_call", output=True, data=call)
    result = {"type": "function_call_output", "call_id": "c1", "output": '["8:02", "9:02"]'}
    create_item(turn, '["8:02", "9:02"]', "function_call_output", data=result)
    create_item(turn, ANSWER, role="assistant", output=True)
    content = [
        {"type": "input_text", "text": "Is this the station?"},
        {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 4_000},
    ]
    data = {"type": "message", "role": "user", "content": content}
    create_item(row.turns.get(number=4), "Is this the station?", role="user", data=data)
    row.documents.add(Document.objects.create(user=person.user, digest="d", title="Timetable"))
    for number in range(3):
        create_conversation(person.user, 1, title=f"Birds {number}")
    return row


@pytest.mark.parametrize("browse", [DESKTOP, PHONE], indirect=True)
async def test_a_word_leads_to_its_place_in_the_thread(browse, operator, alice):
    row = await run_in_thread(create_talk, alice)
    width = browse.page.viewport_size["width"]
    await browse.sign_in("operator")
    page = await browse.open(LIST)
    await browse.check(f"conversations-{width}")
    await browse.check_accessibility()
    await page.fill("#searchbar", "graz")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".hit-snippet")
    await browse.check(f"conversations-found-{width}")
    await page.click("#result_list th a")
    await page.wait_for_selector(".is-hit")
    assert "Graz" in await page.inner_text(".is-hit")
    assert row.pk in await page.inner_text("#content") or await page.locator(".facts").count()
    assert await page.locator(".thread b, .thread i, .thread img").count() == 0
    assert await page.locator(".thread .code pre", has_text="print(").count() == 1
    await page.click(".thought summary")
    await browse.check(f"conversation-{width}")
    await browse.check_accessibility()


async def test_all_conversations_of_a_user_are_deleted_in_few_clicks(browse, operator, alice):
    await run_in_thread(create_talk, alice)
    await browse.sign_in("operator")
    page = await browse.open(f"{LIST}?user=alice")
    await page.click("text=Delete all conversations of alice")
    await page.wait_for_selector("#typed-name")
    await browse.check("conversations-delete-all")
    await browse.check_accessibility()
    await page.fill("#typed-name", "alice")
    await page.click("button.button-danger")
    await page.wait_for_selector(".messagelist .success")
    assert not await run_in_thread(Conversation.objects.exists)
    await browse.check("conversations-none")
    await browse.check_accessibility()
