"""The gateway does not start with settings of alerts and limits that cannot be used."""

from typing import Any

from api.checks import check_alert_settings, check_default_limits


def list_ids() -> list[str | None]:
    return [problem.id for problem in check_alert_settings()]


def test_the_defaults_are_no_problem() -> None:
    assert list_ids() == []


def test_a_webhook_needs_a_secret(settings: Any) -> None:
    settings.ALERT_WEBHOOK_URL = "https://hooks.example/path"
    assert list_ids() == ["api.E001"]
    settings.ALERT_WEBHOOK_SECRET = "x" * 32
    assert list_ids() == []


def test_addresses_need_a_mail_server(settings: Any) -> None:
    settings.ALERT_EMAILS = ["ops@example.com"]
    assert list_ids() == ["api.E002"]
    settings.EMAIL_URL = "smtp://mail.example"
    assert list_ids() == []


def test_default_limits_that_cannot_be_read_are_named(settings: Any) -> None:
    assert check_default_limits() == []
    settings.DEFAULT_KEY_LIMITS = "rpm=0"
    (problem,) = check_default_limits()
    assert problem.id == "api.E003"
    assert problem.msg.startswith("DEFAULT_KEY_LIMITS: rpm: Write a whole number")
