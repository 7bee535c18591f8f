"""`send_test_alert` shows whether the channels of alerts work."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail

from api.models import AlertEvent
from api.tests.alerts.receiver import SECRET, Receiver, run_receiver
from providers.tests.command_runner import refused, run

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    with run_receiver() as receiver:
        settings.ALERT_WEBHOOK_URL = receiver.url
        settings.ALERT_WEBHOOK_SECRET = SECRET
        settings.ALERT_ALLOW_PRIVATE = True
        yield receiver


def test_each_channel_gets_a_test_and_nothing_is_written(receiver: Receiver, settings: Any) -> None:
    settings.EMAIL_URL = "smtp://mail.example"
    settings.ALERT_EMAILS = ["ops@example.com"]
    assert run("send_test_alert") == "webhook: sent.\nops@example.com: sent.\n"
    assert receiver.verify()["type"] == "alert.test"
    assert mail.outbox[0].body.startswith("This is a test of the alerts.")
    assert not AlertEvent.objects.exists()


def test_a_channel_that_fails_is_named(receiver: Receiver) -> None:
    receiver.statuses = [403]
    assert "1 of 1 channels failed" in refused("send_test_alert")


def test_settings_that_cannot_be_used_are_named(receiver: Receiver, settings: Any) -> None:
    settings.ALERT_WEBHOOK_SECRET = "short"
    refused("send_test_alert")
    assert receiver.requests == []


def test_without_a_channel_it_says_so() -> None:
    assert "No channel is set" in refused("send_test_alert")


def test_an_address_can_be_given(settings: Any) -> None:
    refused("send_test_alert", "--email", "me@example.com")
    settings.EMAIL_URL = "smtp://mail.example"
    assert run("send_test_alert", "--email", "me@example.com") == "me@example.com: sent.\n"
    assert [message.to for message in mail.outbox] == [["me@example.com"]]
