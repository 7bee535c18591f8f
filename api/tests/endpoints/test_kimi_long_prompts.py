"""Long prompts to a site that keeps the chat: each question gets its passages, as everything is
told anew.
"""

import pytest

from api.tests.endpoints.test_kimi_conversations import (  # noqa: F401 - fixtures
    asked,
    kind,
    site,
    token,
    turn,
)
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows

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
async def provider(upstream, transactional_db, kind):  # noqa: F811
    def make():
        row = rows.create_provider(
            upstream.url, models=(), kind=kind, native_tools=False, reports_usage=False
        )
        rows.create_model(row, "m", "SCENARIO_K2D5", capabilities=["chat"], context_window=3_000)
        return row

    return await run_in_thread(make)


@pytest.mark.parametrize("repeated", [True, False])
async def test_each_question_gets_its_passages(gateway, site, alice, repeated):  # noqa: F811
    system = [{"role": "system", "content": NOTES}]
    for number, name in enumerate((NAMES[150], NAMES[250])):
        messages = [{"role": "user", "content": f"In which note is {name}?"}]
        messages = [*system, *messages] if repeated or not number else messages
        answer = await gateway.request_chat(alice.key, messages=messages, conversation_id="c")
        assert answer.status == 200, answer
        text = asked(site.questions[-1])[2]
        assert text.startswith("system: Answer from these notes.")
        assert f": {name} lives" in text.partition("concern the last question")[2]
    if not repeated:
        assert f"In which note is {NAMES[150]}?" in text


async def test_what_fits_goes_on_in_its_chat(gateway, site, alice):  # noqa: F811
    await turn(gateway, alice, "I am Ann.")
    await turn(gateway, alice, "Who am I?")
    assert asked(site.questions[-1])[2] == "Who am I?"
