"""Requests in the journals of dead processes get a usage record."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.conf import settings as django_settings

from api.accounting import journal
from api.accounting.journal import SLOT_BYTES, Journal
from api.accounting.write_errors import WriteFailed
from api.tests.accounting.ledger_harness import (
    LedgerHarness,
    facts,
    leave_journal,
    read_row_ids,
    serve,
    trace,
)

pytestmark = pytest.mark.usefixtures("retries_at_once")


OPENS = """
import sys, time, django
django.setup()
from pathlib import Path
from api.accounting.ledger import Ledger
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace

ledger = Ledger(None, None, Path(sys.argv[1]))
for number in range(3):
    name = f"{number:032x}"
    request = ChatRequest(
        id=name, endpoint="chat/completions", model="kimi-k2", body={}, stream=bool(number)
    )
    ledger.open_record(Trace(request, key_id=11, user_id=None))
print("open", flush=True)
time.sleep(600)
"""


async def test_requests_of_a_process_that_was_killed_get_an_interrupted_row_each(
    harness: LedgerHarness, tmp_path: Path
) -> None:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "proxysite.settings_test",
        "TMPDIR": str(tmp_path),
    }
    command = [sys.executable, "-c", OPENS, str(tmp_path / "journal")]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=django_settings.BASE_DIR, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"open\n"
        assert await harness.ledger.sweep_journals() == 0  # it lives
        assert len(harness.in_flight()) == 3
    finally:
        process.kill()
        await process.communicate()
    assert await harness.ledger.sweep_journals() == 3
    assert harness.in_flight() == []
    assert read_row_ids(harness) == [0, 1, 2]
    for number, found in enumerate(
        sorted(harness.writer.table.values(), key=lambda one: one["id"])
    ):
        assert (found["status"], found["error_code"], found["http_status"]) == (
            "interrupted",
            "interrupted",
            None,
        )
        assert (found["key_id"], found["user_id"], found["endpoint"]) == (
            11,
            None,
            "chat/completions",
        )
        assert (found["model"], found["stream"]) == ("kimi-k2", bool(number))
        assert found["started_at"]
    assert await harness.ledger.sweep_journals() == 0
    assert journal.list_journals(tmp_path / "journal") == [harness.ledger._journal.path]


async def test_a_sweep_leaves_its_own_requests_and_those_of_the_living_alone(
    harness: LedgerHarness,
) -> None:
    harness.ledger.open_record(trace(1))
    living = Journal(harness.ledger._journal_directory)
    living.write_facts(facts(2))
    assert await harness.ledger.sweep_journals() == 0
    assert harness.in_flight() == [f"{1:032x}", f"{2:032x}"]
    living.close()


async def test_a_request_that_was_committed_just_before_its_process_died_keeps_its_row(
    harness: LedgerHarness,
) -> None:
    await serve(harness, 1)
    leave_journal(harness, facts(1), facts(2))
    await harness.ledger.sweep_journals()
    assert [harness.writer.table[f"{n:032x}"]["status"] for n in (1, 2)] == [
        "complete",
        "interrupted",
    ]


async def test_a_journal_stays_while_its_rows_cannot_be_written(harness: LedgerHarness) -> None:
    path = leave_journal(harness, facts(1))
    harness.writer.broken = True
    with pytest.raises(WriteFailed):
        await harness.ledger.sweep_journals()
    assert path.exists()
    harness.writer.broken = False
    assert await harness.ledger.sweep_journals() == 1
    assert not path.exists()


@pytest.mark.parametrize("strange", [[], [1, 2], ["x"] * 9, 5, None, {"a": 1}, "x"], ids=str)
async def test_a_journal_of_another_version_does_not_stop_the_sweep(
    harness: LedgerHarness, strange: Any
) -> None:
    data = orjson.dumps(strange)
    odd = harness.ledger._journal_directory / "0-odd.journal"
    odd.write_bytes((len(data).to_bytes(2, "big") + data).ljust(SLOT_BYTES, b"\0"))
    leave_journal(harness, facts(1))
    await harness.ledger.sweep_journals()
    assert read_row_ids(harness) == [1]
    assert not odd.exists()


async def test_an_empty_journal_is_cleared_away(harness: LedgerHarness) -> None:
    empty = harness.ledger._journal_directory / "1-ab.journal"
    empty.touch()
    assert await harness.ledger.sweep_journals() == 0
    assert not empty.exists()
