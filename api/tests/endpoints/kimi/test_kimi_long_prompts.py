"""Long prompts to a site that keeps the chat: each question gets its passages, as everything is
told anew.
"""

import pytest

from api.tests.endpoints.kimi.kimi_chats import read_question, send_turn
from api.tests.endpoints.kimi.kimi_provider import create_kimi_provider
from providers.database.database_threads import run_in_thread

NAMES = [
    f"{a}{b}{c}um"
    for a in ("ba", "do", "gi", "ku", "le", "mo", "na", "pi")
    for b in "aeiou"
    for c in "bdfgklmnpz"
]
NOTES = "Answer from these notes.\n\n" + "".join(
    f"Note {at}: {name} lives in the house beside the bridge and works in the market.\n\n"
    for at, name in enumerate(NAMES)
)


@pytest.fixture
async def provider(upstream, transactional_db, kind):
    def create_small_window():
        return create_kimi_provider(upstream.url, kind, context_window=3_000)

    return await run_in_thread(create_small_window)


@pytest.mark.parametrize("repeated", [True, False])
async def test_each_question_gets_its_passages(gateway, site, alice, repeated):
    system = [{"role": "system", "content": NOTES}]
    for number, name in enumerate((NAMES[150], NAMES[250])):
        messages = [{"role": "user", "content": f"In which note is {name}?"}]
        messages = [*system, *messages] if repeated or not number else messages
        answer = await gateway.request_chat(alice.key, messages=messages, conversation_id="c")
        assert answer.status == 200, answer
        text = read_question(site.questions[-1])[2]
        assert text.startswith("system: Answer from these notes.")
        assert f": {name} lives" in text.partition("concern the last question")[2]
    if not repeated:
        assert f"In which note is {NAMES[150]}?" in text


async def test_what_fits_goes_on_in_its_chat(gateway, site, alice):
    await send_turn(gateway, alice, "I am Ann.")
    await send_turn(gateway, alice, "Who am I?")
    assert read_question(site.questions[-1])[2] == "Who am I?"
