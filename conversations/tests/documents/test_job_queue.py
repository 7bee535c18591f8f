"""Texts wait in lines: of one user one at a time, few in all, and only what somebody waits for."""

import asyncio
import threading

import pytest

from conversations.documents import document_store, ingest, job_queue
from conversations.documents.index_worker import Splitting, divide_text
from conversations.models import Document
from providers.database.database_threads import run_in_thread
from providers.exceptions import Saturated
from proxysite.testing import wait_until_true

pytestmark = pytest.mark.usefixtures("transactional_db")
TEXT = "".join(f"Chapter {n}. The keeper of lamp {n} is called Ada{n}.\n\n" for n in range(60))


class Gate:
    """Divides when it is open; `begun`: the texts that came, `most`: how many were here at once."""

    def __init__(self):
        self.open = threading.Event()
        self.begun, self.now, self.most = [], 0, 0
        self.lock = threading.Lock()

    def __call__(self, text, splitting, seconds):
        with self.lock:
            self.begun.append(text)
            self.now += 1
            self.most = max(self.most, self.now)
        self.open.wait(30)
        with self.lock:
            self.now -= 1
        return divide_text(text, splitting, seconds)


@pytest.fixture
def gate(monkeypatch):
    made = Gate()
    monkeypatch.setattr(document_store, "divide_text", made)
    yield made
    made.open.set()


def taking(user_id, number, **how):
    return asyncio.create_task(ingest.ingest_text(user_id, f"{TEXT} {number}", Splitting(), **how))


async def waits(*tasks, many):
    """Until so many pieces of work are in line."""
    await wait_until_true(lambda: len(ingest.text_queues) == many)
    assert not any(task.done() for task in tasks)


async def test_a_text_has_no_lease_before_its_turn(alice, gate):
    first = taking(alice.user.pk, 1)
    await wait_until_true(lambda: gate.begun)
    second = taking(alice.user.pk, 2)
    await waits(first, second, many=2)
    assert await run_in_thread(Document.objects.count) == 1
    gate.open.set()
    await asyncio.gather(first, second)
    assert len(gate.begun) == 2
    assert gate.most == 1
    assert set(
        await run_in_thread(lambda: list(Document.objects.values_list("state", flat=True)))
    ) == {"ingested"}


async def test_what_nobody_waits_for_any_more_is_dropped_before_its_turn(alice, gate):
    first = taking(alice.user.pk, 1)
    await wait_until_true(lambda: gate.begun)
    given_up, wanted, too = (
        taking(alice.user.pk, 2),
        taking(alice.user.pk, 3),
        taking(alice.user.pk, 3),
    )
    await waits(first, given_up, wanted, too, many=3)
    given_up.cancel()
    too.cancel()
    await asyncio.wait([given_up, too])
    await waits(first, wanted, many=2)
    gate.open.set()
    await asyncio.gather(first, wanted)
    assert [text[-1] for text in gate.begun] == ["1", "3"]


async def test_a_line_that_is_too_long_is_refused(alice, mallory, gate, monkeypatch):
    monkeypatch.setattr(job_queue, "MOST_JOBS", 2)
    tasks = [taking(alice.user.pk, 1), taking(alice.user.pk, 2)]
    await waits(*tasks, many=2)
    with pytest.raises(Saturated):
        await taking(alice.user.pk, 3)
    tasks += [taking(alice.user.pk, 2), taking(mallory.user.pk, 3)]  # the same text, another user
    gate.open.set()
    await asyncio.gather(*tasks)
    assert len(gate.begun) == 3


async def test_texts_that_are_not_stored_wait_for_their_turn_too(gate):
    tasks = [taking(None, number, queue=7) for number in (1, 2, 3, 3)]
    await waits(*tasks, many=3)
    await wait_until_true(lambda: gate.begun)
    gate.open.set()
    known = await asyncio.gather(*tasks)
    assert (gate.most, len(gate.begun)) == (1, 3)
    assert {one.document_id for one in known} == {""}


async def test_two_users_do_not_wait_for_each_other(gate):
    tasks = [taking(None, 1, queue=7), taking(None, 2, queue=8)]
    await wait_until_true(lambda: len(gate.begun) == 2)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert gate.most == 2
