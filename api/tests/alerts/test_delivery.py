"""Deliveries: sent until they are taken once, by one worker at a time, then given up."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from api.alerts import delivery
from api.alerts.delivery import deliver_due_alerts, find_pause_seconds
from api.alerts.event_records import record_alerts
from api.models import AlertDelivery, AlertEvent, DeliveryState
from api.tests.alerts.receiver import Receiver, make_facts

pytestmark = pytest.mark.usefixtures("transactional_db")


def let_time_pass() -> None:
    """Make every waiting delivery due, as if its pause were over."""
    AlertDelivery.objects.filter(state=DeliveryState.WAITING).update(
        due_at=Now() - timedelta(seconds=1)
    )


def test_a_delivery_that_was_taken_is_never_sent_again(receiver: Receiver) -> None:
    record_alerts([make_facts()])
    assert deliver_due_alerts() == 1
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempt_count, row.problem) == (DeliveryState.SENT, 1, "")
    assert row.sent_at is not None
    record_alerts([make_facts()])
    let_time_pass()
    assert AlertDelivery.objects.all().mark_waiting() == 0
    assert deliver_due_alerts() == 0
    assert len(receiver.requests) == 1
    receiver.verify()


def test_failed_attempts_are_repeated_with_the_same_id_until_one_is_taken(
    receiver: Receiver,
) -> None:
    receiver.statuses = [500, 302, 404, 200]
    record_alerts([make_facts()])
    for _ in range(3):
        assert deliver_due_alerts() == 0
        assert deliver_due_alerts() == 0, "the pause is not over"
        let_time_pass()
    assert deliver_due_alerts() == 1
    assert receiver.list_ids() == [str(AlertEvent.objects.get())] * 4
    bodies = {body for _, body in receiver.requests}
    assert len(bodies) == 1
    for number in range(4):
        receiver.verify(number)
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempt_count, row.problem) == (DeliveryState.SENT, 4, "")


@pytest.mark.settings(ALERT_TRIES=3)
def test_after_the_last_attempt_it_has_failed_until_a_person_sends_it_again(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500]
    record_alerts([make_facts()])
    for _ in range(5):
        deliver_due_alerts()
        let_time_pass()
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempt_count) == (DeliveryState.FAILED, 3)
    assert row.problem == "The receiver answered with the status 500."
    assert len(receiver.requests) == 3
    assert "failed for good after 3 attempts" in caplog.text
    assert receiver.url not in caplog.text

    receiver.statuses = [200]
    assert AlertDelivery.objects.all().mark_waiting() == 1
    assert deliver_due_alerts() == 1
    assert len(set(receiver.list_ids())) == 1


def test_a_receiver_that_is_gone_gets_one_attempt(receiver: Receiver) -> None:
    receiver.statuses = [410]
    record_alerts([make_facts()])
    deliver_due_alerts()
    assert AlertDelivery.objects.get().state == DeliveryState.FAILED


# --- pauses ---------------------------------------------------------------------------------------
def test_pauses_double_up_to_a_bound_and_all_attempts_take_about_thirty_hours(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda least, most: 1.0)
    pauses = [find_pause_seconds(count) for count in range(1, settings.ALERT_TRIES)]
    assert pauses[:4] == [10, 20, 40, 80]
    assert pauses[-3:] == [21_600] * 3
    assert 29 * 3_600 < sum(pauses) < 31 * 3_600


def test_the_jitter_is_a_fifth_at_most() -> None:
    pauses = [find_pause_seconds(1) for _ in range(500)]
    assert all(8 <= pause <= 12 for pause in pauses)
    assert len(set(pauses)) > 400


@pytest.mark.parametrize(("wanted", "pause"), [(5, 10), (600, 600), (10**9, 21_600)])
def test_a_pause_that_the_receiver_wants_is_kept_within_the_bound(
    wanted: float, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda least, most: 1.0)
    assert find_pause_seconds(1, wanted) == pause
    assert find_pause_seconds(10_000) == 21_600


def test_the_next_attempt_is_due_after_the_pause(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "find_pause_seconds", lambda count, wanted: 1_000.0 * count)
    receiver.statuses = [500]
    record_alerts([make_facts()])
    for count in (1, 2):
        start = timezone.now()
        deliver_due_alerts()
        row = AlertDelivery.objects.get()
        assert row.claimed_until is None
        assert abs(row.due_at - start - timedelta(seconds=1_000 * count)) < timedelta(seconds=60)
        let_time_pass()


# --- several workers ------------------------------------------------------------------------------
def test_workers_at_the_same_time_send_each_delivery_once(receiver: Receiver) -> None:
    count = 25
    record_alerts([make_facts(number) for number in range(count)])
    together = threading.Barrier(4)
    sent_counts: list[int] = []

    def work() -> None:
        together.wait(10)
        sent_counts.append(deliver_due_alerts())
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent_counts) == count
    assert len(receiver.requests) == count
    assert len(set(receiver.list_ids())) == count


def test_while_one_worker_sends_no_other_takes_it(receiver: Receiver) -> None:
    record_alerts([make_facts()])
    (row,) = delivery.claim_due_deliveries(delivery.AlertChannel.WEBHOOK)
    assert deliver_due_alerts() == 0
    assert receiver.requests == []

    # the worker dies: its lease ends
    AlertDelivery.objects.update(claimed_until=Now() - timedelta(seconds=1))
    assert deliver_due_alerts() == 1
    # it was only slow, and its own attempt failed: nothing is undone
    delivery.mark_delivery(row, delivery.SendResult("late"))
    assert AlertDelivery.objects.get().state == DeliveryState.SENT


def test_a_worker_that_dies_after_sending_sends_the_same_id_once_more(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    record_alerts([make_facts()])
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "mark_delivery", die)
        with pytest.raises(KeyboardInterrupt):
            deliver_due_alerts()
    assert deliver_due_alerts() == 0, "its lease has not ended"
    AlertDelivery.objects.update(claimed_until=Now() - timedelta(seconds=1))
    assert deliver_due_alerts() == 1
    assert len(receiver.requests) == 2
    assert len(set(receiver.list_ids())) == 1


def test_a_taken_delivery_is_marked_though_its_lease_was_lost(receiver: Receiver) -> None:
    record_alerts([make_facts()])
    (first,) = delivery.claim_due_deliveries(delivery.AlertChannel.WEBHOOK)
    AlertDelivery.objects.update(claimed_until=Now() - timedelta(seconds=1))
    (second,) = delivery.claim_due_deliveries(delivery.AlertChannel.WEBHOOK)
    assert second.attempt_count == 2
    delivery.mark_delivery(first, delivery.SendResult())
    delivery.mark_delivery(second, delivery.SendResult("refused"))
    assert AlertDelivery.objects.get().state == DeliveryState.SENT
