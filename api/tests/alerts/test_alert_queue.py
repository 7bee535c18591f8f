"""Alerts wait in memory until they are written, and no request waits for that."""

import asyncio
import threading
from typing import Any

import pytest
from django.db import OperationalError

from api.alerts import alert_queue
from api.alerts.alert_queue import AlertQueue
from api.models import AlertEvent
from api.tests.alerts.receiver import make_facts
from providers.database.database_threads import run_in_thread
from proxysite.testing import wait_until_true

pytestmark = pytest.mark.usefixtures("transactional_db")


async def count_events() -> int:
    return await run_in_thread(AlertEvent.objects.count)


async def test_an_alert_that_was_reported_is_not_reported_again() -> None:
    queue = AlertQueue()
    for _ in range(3):
        queue.report(make_facts())
    queue.report(make_facts(8))
    assert len(queue) == 2
    await queue.write_waiting()
    queue.report(make_facts())
    assert (len(queue), await count_events()) == (0, 2)


async def test_what_is_forgotten_is_written_once_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alert_queue, "KNOWN_ALERTS", 2)
    queue = AlertQueue()
    for subject_id in (1, 2, 3, 1, 2, 3):
        queue.report(make_facts(subject_id))
    assert len(queue) == 6
    await queue.write_waiting()
    assert await count_events() == 3


async def test_when_too_many_wait_a_further_one_can_be_reported_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alert_queue, "WAITING_ALERTS", 2)
    queue = AlertQueue()
    for subject_id in (1, 2, 3):
        queue.report(make_facts(subject_id))
    assert len(queue) == 2
    await queue.write_waiting()
    queue.report(make_facts(3))
    await queue.write_waiting()
    assert await count_events() == 3


async def test_nothing_is_lost_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(batch: object) -> None:
        raise OperationalError("away") from ConnectionError()

    queue = AlertQueue()
    for subject_id in range(alert_queue.ALERTS_AT_ONCE + 5):
        queue.report(make_facts(subject_id))
    with monkeypatch.context() as patch:
        patch.setattr("api.alerts.event_records.record_alerts", fail)
        await queue.write_waiting()
    assert len(queue) == alert_queue.ALERTS_AT_ONCE + 5
    await queue.write_waiting()
    assert (len(queue), await count_events()) == (0, alert_queue.ALERTS_AT_ONCE + 5)


async def test_reports_go_on_while_a_batch_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    is_writing, may_end = threading.Event(), threading.Event()
    record_alerts = alert_queue.event_records.record_alerts

    def write_slowly(batch: Any) -> Any:
        is_writing.set()
        assert may_end.wait(10)
        return record_alerts(batch)

    monkeypatch.setattr("api.alerts.event_records.record_alerts", write_slowly)
    queue = AlertQueue()
    queue.report(make_facts(1))
    task = asyncio.create_task(queue.write_waiting())
    await wait_until_true(is_writing.is_set)
    queue.report(make_facts(2))
    may_end.set()
    await task
    assert await count_events() == 2


async def test_a_value_that_the_database_refuses_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = AlertQueue()
    queue.report(make_facts(1, period="x" * 60))
    queue.report(make_facts(2))
    await queue.write_waiting()
    assert len(queue) == 0
    assert await run_in_thread(AlertEvent.objects.filter(subject_id="2").exists)
    caplog.clear()


async def test_the_gateway_writes_what_is_reported(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.inner.alerts.report(make_facts())
    gateway.inner.alerts.report(make_facts())
    await wait_until_true(lambda: len(gateway.inner.alerts) == 0)
    assert await count_events() == 1


async def test_a_gateway_that_ends_writes_what_waits(gateway: Any) -> None:
    gateway.inner.alerts.report(make_facts())
    await gateway.restart_server()
    assert await count_events() == 1
