"""Nothing that housekeeping did not foresee ends it for good."""

import asyncio
from typing import Any

import pytest

from api.relay import gateway as module
from api.relay.gateway import repeat_forever
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import answer_honestly


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.01)
    monkeypatch.setattr(module, "LONGEST_RESTART_SECONDS", 0.02)


@pytest.mark.parametrize(
    "fault", [ValueError("odd"), OSError(5, "Input/output error"), TimeoutError(), KeyError(1)]
)
async def test_work_begins_anew_after_any_fault(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[int] = []
    done = asyncio.Event()

    async def work() -> None:
        runs.append(1)
        if len(runs) < 5:
            raise fault
        done.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(repeat_forever(work))
    await asyncio.wait_for(done.wait(), 10)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(caplog.records) == 4


@pytest.mark.parametrize("broken", ["replay", "sweep", "turns"])
async def test_each_kind_of_leftover_is_finished_whatever_becomes_of_the_others(
    gateway: Any, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.01)
    counts = dict.fromkeys(("replay", "sweep", "turns"), 0)

    def count(name: str) -> None:
        counts[name] += 1
        if name == broken:
            raise ZeroDivisionError

    async def replay() -> None:
        count("replay")

    async def sweep() -> None:
        count("sweep")

    monkeypatch.setattr(gateway.inner.ledger, "replay_spools", replay)
    monkeypatch.setattr(gateway.inner.ledger, "sweep_journals", sweep)
    monkeypatch.setattr(
        "conversations.history.dead_turns.end_all_dead_turns", lambda: count("turns")
    )
    task = asyncio.create_task(gateway.inner._sweep_periodically())
    await wait_until_true(lambda: min(counts.values()) >= 3)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    caplog.clear()


async def test_changes_are_seen_again_after_a_row_could_not_be_read(
    gateway: Any,
    upstream: Any,
    alice: Any,
    provider: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    read, faults = gateway.inner.catalogue.read_catalogue_rows, []

    def read_or_fail() -> Any:
        faults.append(1)
        if len(faults) < 3:
            raise ValueError("a row that nobody foresaw")
        return read()

    monkeypatch.setattr(gateway.inner.catalogue, "read_catalogue_rows", read_or_fail)
    upstream.set_default_script(answer_honestly())
    await run_in_thread(rows.create_model, provider, "later")

    async def answered() -> bool:
        return bool((await gateway.request_chat(alice.key, model="later")).status == 200)

    await wait_until_true(answered)
    assert len(faults) >= 3
    caplog.clear()


@pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=30)  # a late answer would suspend requests
async def test_a_gateway_starts_though_a_recovery_meets_a_fault_of_ours(
    gateway: Any, upstream: Any, alice: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    faults = [ZeroDivisionError(), ZeroDivisionError()]

    async def fail(self: Any) -> int:
        raise faults.pop()

    await gateway.stop()
    with monkeypatch.context() as patch:
        patch.setattr("api.accounting.ledger.Ledger.replay_spools", fail)
        patch.setattr("api.accounting.ledger.Ledger.sweep_journals", fail)
        await gateway.start()
    assert not faults
    assert (await gateway.request_chat(alice.key)).status == 200
    caplog.clear()
