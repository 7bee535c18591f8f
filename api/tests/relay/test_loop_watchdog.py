"""The watchdog notices a loop that is stopped, and only that."""

import asyncio
import time

import pytest

from api.relay import loop_watchdog
from api.relay.loop_watchdog import Stalls, Watchdog
from proxysite.testing import wait_until_true

SECONDS = 0.05


@pytest.fixture
def stalls(monkeypatch: pytest.MonkeyPatch) -> Stalls:
    found = Stalls()
    monkeypatch.setattr(loop_watchdog, "stalls", found)
    return found


def stop_the_loop_on_purpose(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_stopped_loop_is_counted_and_logged_with_what_it_does(
    stalls: Stalls, caplog: pytest.LogCaptureFixture
) -> None:
    task = asyncio.create_task(Watchdog(SECONDS).beat_until_cancelled())
    await asyncio.sleep(0.02)
    stop_the_loop_on_purpose(10 * SECONDS)
    await wait_until_true(lambda: stalls.count == 1)
    task.cancel()
    assert stalls.longest_seconds > SECONDS
    (stopped, goes_on) = [
        record.getMessage() for record in caplog.records if record.name == loop_watchdog.__name__
    ]
    assert "stop_the_loop_on_purpose" in stopped
    assert "goes on" in goes_on


async def test_work_that_lets_others_go_on_is_no_stop(stalls: Stalls) -> None:
    watcher = Watchdog(5.0)
    task = asyncio.create_task(watcher.beat_until_cancelled())
    for _ in range(10_000):
        await asyncio.sleep(0)
    task.cancel()
    assert stalls.count == 0


def test_a_process_that_was_suspended_did_not_stop_its_loop() -> None:
    watcher = Watchdog(SECONDS)
    watcher.looked_at, watcher.cpu_seconds = time.monotonic() - 100, time.process_time()
    assert not watcher.check_process_ran(time.monotonic())
    watcher.looked_at, watcher.cpu_seconds = time.monotonic() - 1, time.process_time() - 1
    assert watcher.check_process_ran(time.monotonic())


@pytest.mark.settings(LOOP_STALL_SECONDS=0)
async def test_it_can_be_switched_off(stalls: Stalls) -> None:
    task = asyncio.create_task(loop_watchdog.watch_until_cancelled())
    await asyncio.sleep(0)
    stop_the_loop_on_purpose(0.1)
    assert stalls.count == 0
    task.cancel()
