"""Alerts are written once, with the deliveries that settings and limits ask for."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from api.alerts.event_records import delete_old_alerts, record_alerts
from api.models import (
    AlertChannel,
    AlertDelivery,
    AlertEvent,
    AlertSubject,
    LimitSet,
    Team,
    TeamMember,
)
from api.tests.alerts.receiver import Receiver, make_facts
from proxysite.testing.rows import Person

pytestmark = pytest.mark.usefixtures("transactional_db")


def list_recipients() -> list[tuple[str, str]]:
    rows = AlertDelivery.objects.select_related("user")
    return sorted((row.channel, row.recipient) for row in rows)


def test_an_alert_is_written_once_a_period() -> None:
    assert len(record_alerts([make_facts(), make_facts(used=5), make_facts(8)])) == 2
    assert record_alerts([make_facts(used=5_000_000)]) == []
    assert len(record_alerts([make_facts(period="2026-12-01")])) == 1
    assert AlertEvent.objects.count() == 3
    assert AlertEvent.objects.filter(subject_id="7").earliest("created_at").facts["used"] == "4.01"


def test_of_many_threads_one_writes_the_alert_and_its_delivery(receiver: Receiver) -> None:
    together = threading.Barrier(6)
    counts: list[int] = []

    def report() -> None:
        together.wait(10)
        counts.append(len(record_alerts([make_facts(), make_facts(8)])))
        connection.close()

    threads = [threading.Thread(target=report) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 2
    assert (AlertEvent.objects.count(), AlertDelivery.objects.count()) == (2, 2)


def test_without_a_channel_the_alert_is_written_all_the_same() -> None:
    record_alerts([make_facts()])
    assert (AlertEvent.objects.count(), list_recipients()) == (1, [])


@pytest.mark.settings(
    EMAIL_URL="smtp://mail.example", ALERT_EMAILS=["ops@example.com", "boss@example.com"]
)
def test_each_channel_gets_a_delivery_of_its_own(receiver: Receiver) -> None:
    record_alerts([make_facts()])
    assert list_recipients() == [
        ("email", "boss@example.com"),
        ("email", "ops@example.com"),
        ("webhook", ""),
    ]
    assert receiver.url not in str(list(AlertDelivery.objects.values()))


def test_without_a_mail_server_no_mail_waits(settings: Any, alice: Person) -> None:
    settings.ALERT_EMAILS = ["ops@example.com"]
    record_alerts([make_facts(alice.row.pk)])
    assert list_recipients() == []


# --- owners ---------------------------------------------------------------------------------------
@pytest.fixture
def mail(settings: Any, alice: Person) -> Person:
    settings.EMAIL_URL = "smtp://mail.example"
    User.objects.filter(pk=alice.user.pk).update(email="alice@example.com")
    return alice


@pytest.mark.parametrize("is_wanted", [True, False])
def test_the_owner_of_a_key_is_told_where_its_limits_say_so(mail: Person, is_wanted: bool) -> None:
    LimitSet.objects.create(key=mail.row, notifies_owner=is_wanted)
    record_alerts([make_facts(mail.row.pk)])
    assert list_recipients() == ([("email", "alice")] if is_wanted else [])
    assert not AlertDelivery.objects.exclude(address="").exists()


def test_a_user_is_told_about_limits_of_the_user_alone(mail: Person, mallory: Person) -> None:
    LimitSet.objects.create(user_id=mail.user.pk, notifies_owner=True)
    record_alerts([make_facts(mail.user.pk, subject_kind=AlertSubject.USER)])
    record_alerts([make_facts(mallory.user.pk, subject_kind=AlertSubject.USER)])
    record_alerts([make_facts(mail.row.pk)])
    assert list_recipients() == [("email", "alice")]


def test_of_a_team_the_members_who_are_staff_are_told(mail: Person) -> None:
    team = Team.objects.create(name="Research")
    chief = User.objects.create_user("chief", "chief@example.com", is_staff=True)
    User.objects.create_user("other chief", "other@example.com", is_staff=True)
    for user_id in (chief.pk, mail.user.pk):
        TeamMember.objects.create(user_id=user_id, team=team)
    LimitSet.objects.create(team=team, notifies_owner=True)
    record_alerts([make_facts(team.pk, subject_kind=AlertSubject.TEAM)])
    assert list_recipients() == [("email", "chief")]


def test_an_operator_who_is_the_owner_gets_one_mail(mail: Person, settings: Any) -> None:
    settings.ALERT_EMAILS = ["Alice@Example.com"]
    LimitSet.objects.create(key=mail.row, notifies_owner=True)
    record_alerts([make_facts(mail.row.pk)])
    assert AlertDelivery.objects.get().channel == AlertChannel.EMAIL


def test_inactive_users_and_users_without_an_address_are_not_told(mail: Person) -> None:
    LimitSet.objects.create(key=mail.row, notifies_owner=True)
    User.objects.update(is_active=False)
    record_alerts([make_facts(mail.row.pk)])
    User.objects.update(is_active=True, email="")
    record_alerts([make_facts(mail.row.pk, period="2026-12-01")])
    assert list_recipients() == []


# --- age ------------------------------------------------------------------------------------------
def test_old_alerts_go_with_their_deliveries_but_those_of_a_lifetime_stay(
    receiver: Receiver, settings: Any
) -> None:
    old = timezone.now() - timedelta(days=settings.ALERT_KEEP_DAYS + 1)
    record_alerts([make_facts(1, reported_at=old), make_facts(2)])
    record_alerts([make_facts(3, period="total", reported_at=old)])
    assert delete_old_alerts() == 1
    assert sorted(AlertEvent.objects.values_list("subject_id", flat=True)) == ["2", "3"]
    assert AlertDelivery.objects.count() == 2
