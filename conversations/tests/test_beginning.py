"""A turn that takes too long to begin is given up, and leaves nothing behind."""

import math
import time
import uuid

import pytest

from conversations import beginning, items, turns
from conversations.models import Conversation, Door, Item
from conversations.places import Asked
from providers.offloop import TooLate, off_loop
from proxysite.testing.rows import Person


def asked_by(person: Person, count: int) -> Asked:
    entries = items.of_messages([{"role": "user", "content": f"word{at}"} for at in range(count)])
    return Asked(uuid.uuid4().hex, person.user.pk, Door.CHAT, "m", entries, stored=True, budget=1_000)


async def test_items_are_written_in_their_order_however_many(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PUT_AT_ONCE", 7)
    await off_loop(beginning.begin, asked_by(alice, 50), math.inf)
    found = await off_loop(lambda: list(Item.objects.order_by("id").values_list("text", "public_id")))
    assert [text for text, _ in found] == [f"word{at}" for at in range(50)]
    assert len({public_id for _, public_id in found}) == 50


async def test_what_nobody_waits_for_any_more_stops_in_the_middle_and_is_rolled_back(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def slow(user_id: int, rows: list[Item]) -> None:
        written.append(len(rows))
        time.sleep(0.2)

    monkeypatch.setattr(turns, "PUT_AT_ONCE", 10)
    monkeypatch.setattr("conversations.search.add", slow)
    with pytest.raises(TooLate):
        await off_loop(beginning.begin, asked_by(alice, 10_000), time.monotonic() + 1)
    assert len(written) < 1_000
    assert not await off_loop(Conversation.objects.exists)
