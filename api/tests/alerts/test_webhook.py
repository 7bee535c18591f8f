"""The webhook: signature, body, and what an answer means."""

import asyncio
from typing import Any

import pytest

from api.alerts import webhook
from api.alerts.event_records import make_event
from api.alerts.webhook import SendResult
from api.models import AlertKind, AlertSubject, Team
from api.tests.alerts.receiver import SECRET, SECRET_BYTES, Receiver, make_facts, run_receiver
from providers.network.clients import Clients
from proxysite.testing.rows import Person


def send_once(body: bytes = b"{}", message_id: str = "alert_1") -> SendResult:
    async def send() -> SendResult:
        async with Clients() as clients:
            return await webhook.send_message(clients, message_id, 1_764_500_000, body)

    return asyncio.run(send())


def test_the_signature_is_that_of_the_specification() -> None:
    """The example is that of the reference libraries' tests."""
    secret = webhook.read_secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = webhook.sign_body(
        secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.django_db
def test_the_receiver_can_verify_what_comes(receiver: Receiver) -> None:
    event = make_event(make_facts())
    result = send_once(webhook.build_body(event), str(event))
    assert result == SendResult()
    content = receiver.verify()
    headers, _ = receiver.requests[0]
    assert headers["webhook-id"] == f"alert_{event.pk.hex}"
    assert headers["content-type"] == "application/json"
    assert content["type"] == "alert.budget_80"
    assert content["timestamp"] == event.created_at.isoformat()
    data = content["data"]
    assert data["text"] == (
        "80 % of the budget of a day of the API key 7 (deleted) is spent: 4.01 of 5 USD."
    )
    assert data["subject"] == {"kind": "key", "id": "7", "name": "the API key 7 (deleted)"}
    assert (data["used"], data["limit"], data["unit"]) == ("4.01", "5", "USD")


def test_another_secret_or_body_gives_another_signature() -> None:
    first = webhook.sign_body(SECRET_BYTES, "a", 1, b"{}")
    others = {
        webhook.sign_body(SECRET_BYTES[::-1], "a", 1, b"{}"),
        webhook.sign_body(SECRET_BYTES, "b", 1, b"{}"),
        webhook.sign_body(SECRET_BYTES, "a", 2, b"{}"),
        webhook.sign_body(SECRET_BYTES, "a", 1, b"{ }"),
    }
    assert len(others - {first}) == 4


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_2xx_means_that_it_was_taken(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    assert send_once() == SendResult()


def test_a_body_that_never_comes_makes_no_success_a_failure(receiver: Receiver) -> None:
    receiver.statuses = [200]
    receiver.promised_bytes = 10**9
    assert send_once() == SendResult()


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_any_other_status_is_a_failure_that_may_pass(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    assert send_once() == SendResult(f"The receiver answered with the status {status}.")


def test_a_receiver_that_is_gone_is_not_asked_again(receiver: Receiver) -> None:
    receiver.statuses = [410]
    assert send_once().is_final


@pytest.mark.parametrize(
    ("text", "seconds"), [("120", 120), ("-5", 0), ("soon", 0), ("9" * 500, 0), ("1e999", 0)]
)
def test_a_receiver_may_want_a_pause(receiver: Receiver, text: str, seconds: float) -> None:
    receiver.statuses = [503]
    receiver.headers = {"retry-after": text}
    assert send_once().pause_seconds == seconds


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(receiver: Receiver, status: int) -> None:
    with run_receiver() as other:
        receiver.statuses = [status]
        receiver.headers = {"location": other.url}
        assert send_once().problem == f"The receiver answered with the status {status}."
        assert other.requests == []


@pytest.mark.settings(ALERT_WEBHOOK_SECONDS=0.1)
def test_a_silent_receiver_is_not_waited_for(receiver: Receiver) -> None:
    receiver.is_silent = True
    assert "in time" in send_once().problem


def test_a_private_address_gets_nothing_unless_that_is_allowed(
    receiver: Receiver, settings: Any
) -> None:
    settings.ALERT_ALLOW_PRIVATE = False
    assert send_once().problem
    # a public name may lead to a private address too
    settings.ALERT_WEBHOOK_URL = "https://public.example:8443/alerts"
    assert send_once().problem
    assert receiver.requests == []


def test_a_name_that_leads_to_a_private_address_gets_nothing(
    receiver: Receiver, settings: Any, slow_names: list[str]
) -> None:
    port = receiver.url.split(":")[2].split("/")[0]
    settings.ALERT_ALLOW_PRIVATE = False
    settings.ALERT_WEBHOOK_URL = f"https://public.example:{port}/alerts"
    assert "private" in send_once().problem
    assert slow_names == ["public.example"]
    assert receiver.requests == []


# --- settings -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("", "32 bytes or more"),
        ("puny", "32 bytes or more"),
        ("whsec_", "32 bytes or more"),
        ("whsec_c2hvcnQ=", "32 bytes or more"),
        ("whsec_###", "base64"),
        ("x" * 31, "32 bytes or more"),
    ],
)
def test_a_secret_with_which_anybody_could_sign_is_refused(
    receiver: Receiver, settings: Any, secret: str, words: str
) -> None:
    settings.ALERT_WEBHOOK_SECRET = secret
    problem = webhook.find_settings_problem()
    assert words in problem
    assert not secret or secret not in problem.replace("whsec_$", "")
    assert send_once().problem == "The settings of the webhook cannot be used."
    assert receiver.requests == []


@pytest.mark.parametrize("secret", [SECRET, "x" * 32])
def test_a_long_secret_is_taken(receiver: Receiver, settings: Any, secret: str) -> None:
    settings.ALERT_WEBHOOK_SECRET = secret
    assert webhook.find_settings_problem() == ""


@pytest.mark.settings(ALERT_WEBHOOK_SECRET=SECRET)
@pytest.mark.parametrize(
    "url",
    [
        "hooks.example/path",
        "http://hooks.example/path",
        "ftp://hooks.example/path",
        "https://127.0.0.1/path",
        "https://user:hidden@hooks.example/path",
        "https:///path",
        "https://[::1]/hidden",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_being_repeated(
    settings: Any, url: str
) -> None:
    settings.ALERT_WEBHOOK_URL = url
    problem = webhook.find_settings_problem()
    assert problem.startswith("ALERT_WEBHOOK_URL")
    assert url not in problem
    assert "hidden" not in problem


@pytest.mark.settings(ALERT_WEBHOOK_SECRET=SECRET)
def test_an_address_may_have_a_query(settings: Any) -> None:
    settings.ALERT_WEBHOOK_URL = "https://hooks.example/path?token=abc"
    assert webhook.find_settings_problem() == ""


def test_without_an_address_no_secret_is_needed() -> None:
    assert webhook.find_settings_problem() == ""


# --- words ----------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_body_names_the_rows_by_their_names(alice: Person) -> None:
    team = Team.objects.create(name="Research")
    bodies = {
        str(webhook.build_body(make_event(facts)))
        for facts in (
            make_facts(alice.row.pk, kind=AlertKind.BUDGET_100),
            make_facts(alice.user.pk, subject_kind=AlertSubject.USER),
            make_facts(
                team.pk,
                subject_kind=AlertSubject.TEAM,
                kind=AlertKind.LIMIT_HIT,
                limit_name="end_user requests_per_minute",
                used=None,
                limit=60,
            ),
        )
    }
    texts = " ".join(bodies)
    assert f"The budget of a day of the API key {alice.row} (alice) is spent".encode().decode()
    assert "80 % of the budget of a day of the user alice is spent" in texts
    assert "of the team Research was hit: the limit is 60 requests." in texts
