"""Alerts by e-mail, through a mail server on this machine."""

import smtplib
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail

from api.alerts import alert_mail
from api.alerts.delivery import deliver_due_alerts
from api.alerts.event_records import make_event, record_alerts
from api.models import AlertDelivery, AlertEvent, DeliveryState, LimitSet
from api.tests.alerts.receiver import make_facts
from proxysite.testing.rows import Person

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def operators(settings: Any) -> None:
    settings.EMAIL_URL = "smtp://mail.example"
    settings.ALERT_EMAILS = ["ops@example.com"]
    settings.DEFAULT_FROM_EMAIL = "Gateway <alerts@gateway.example>"


def test_operators_and_owner_get_one_mail_each(operators: None, alice: Person) -> None:
    User.objects.filter(pk=alice.user.pk).update(email="alice@example.com")
    LimitSet.objects.create(key=alice.row, notifies_owner=True)
    record_alerts([make_facts(alice.row.pk)])
    assert deliver_due_alerts() == 2
    assert deliver_due_alerts() == 0
    assert sorted(message.to[0] for message in mail.outbox) == [
        "alice@example.com",
        "ops@example.com",
    ]
    message = mail.outbox[0]
    assert message.from_email == "Gateway <alerts@gateway.example>"
    assert message.subject.startswith("[proxysite] 80 % of the budget of a day of the API key")
    assert "4.01 of 5 USD" in message.body
    assert alice.key not in message.body


def test_the_id_of_a_mail_is_the_same_in_each_attempt(operators: None) -> None:
    event = make_event(make_facts())
    ids = {
        alert_mail.build_message(event, "alert_1.7", "ops@example.com").message()["Message-ID"]
        for _ in range(2)
    }
    assert ids == {"<alert_1.7@gateway.example>"}


def test_a_name_with_line_breaks_adds_no_header(operators: None, alice: Person) -> None:
    User.objects.filter(pk=alice.user.pk).update(username="x\r\nBcc: all@example.com")
    record_alerts([make_facts(alice.row.pk)])
    deliver_due_alerts()
    (message,) = mail.outbox
    assert "\n" not in message.subject
    assert message.message()["Bcc"] is None


def test_a_user_whose_address_is_gone_gets_no_mail(operators: None, alice: Person) -> None:
    User.objects.filter(pk=alice.user.pk).update(email="alice@example.com")
    LimitSet.objects.create(key=alice.row, notifies_owner=True)
    record_alerts([make_facts(alice.row.pk)])
    User.objects.update(email="")
    assert deliver_due_alerts() == 1
    row = AlertDelivery.objects.exclude(user=None).get()
    assert (row.state, row.problem) == (DeliveryState.FAILED, "The user has no e-mail address.")


def test_with_the_user_the_delivery_is_deleted_and_the_alert_stays(
    operators: None, alice: Person
) -> None:
    User.objects.filter(pk=alice.user.pk).update(email="alice@example.com")
    LimitSet.objects.create(key=alice.row, notifies_owner=True)
    record_alerts([make_facts(alice.row.pk)])
    alice.user.delete()
    assert AlertDelivery.objects.get().address == "ops@example.com"
    assert AlertEvent.objects.count() == 1
    deliver_due_alerts()
    assert "(deleted)" in mail.outbox[0].body
    assert "alice" not in mail.outbox[0].body


# --- a mail server --------------------------------------------------------------------------------
class MailServer(socketserver.ThreadingTCPServer):
    """A mail server that takes one message, or refuses its recipient with `refusal`."""

    daemon_threads = True
    refusal = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailHandler)
        self.texts: list[str] = []


class MailHandler(socketserver.StreamRequestHandler):
    server: MailServer

    def answer(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        self.answer("220 ready")
        while command := self.rfile.readline().decode().strip().upper():
            match command.split(" ")[0]:
                case "RCPT" if self.server.refusal:
                    self.answer(self.server.refusal)
                case "DATA":
                    self.answer("354 go on")
                    lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                    self.server.texts.append("".join(lines))
                    self.answer("250 taken")
                case "QUIT":
                    self.answer("221 bye")
                    return
                case _:
                    self.answer("250 ok")


@pytest.fixture
def mail_server(operators: None, settings: Any) -> Iterator[MailServer]:
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST = "127.0.0.1"
        settings.EMAIL_PORT = server.server_address[1]
        settings.EMAIL_TIMEOUT = 5
        yield server
        server.shutdown()
        thread.join()


def test_a_mail_server_gets_the_message(mail_server: MailServer) -> None:
    record_alerts([make_facts()])
    assert deliver_due_alerts() == 1
    (text,) = mail_server.texts
    assert "To: ops@example.com" in text
    assert "From: Gateway <alerts@gateway.example>" in text
    assert "Auto-Submitted: auto-generated" in text


@pytest.mark.parametrize("refusal", ["550 no such user", "450 try later"])
def test_a_refused_mail_is_tried_again_later(mail_server: MailServer, refusal: str) -> None:
    mail_server.refusal = refusal
    record_alerts([make_facts()])
    assert deliver_due_alerts() == 0
    row = AlertDelivery.objects.get()
    assert row.state == DeliveryState.WAITING
    assert row.problem == f"The mail server answered with the status {refusal[:3]}."


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), TimeoutError(), smtplib.SMTPServerDisconnected("secret")]
)
def test_a_mail_server_that_is_away_is_asked_again(
    operators: None, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("django.core.mail.EmailMessage.send", fail)
    record_alerts([make_facts()])
    assert deliver_due_alerts() == 0
    problem = AlertDelivery.objects.get().problem
    assert problem == f"The mail server cannot be reached: {type(error).__name__}."


def test_nobody_listens(operators: None, settings: Any) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        settings.EMAIL_PORT = sock.getsockname()[1]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    result = alert_mail.send_mail(make_event(make_facts()), "alert_1", "ops@example.com")
    assert "ConnectionRefusedError" in result.problem
