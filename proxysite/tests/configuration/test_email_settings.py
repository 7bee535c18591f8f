"""The setting EMAIL_URL becomes Django's settings of a mail server."""

from typing import Any

import pytest

from proxysite.configuration.declarations import Environment
from proxysite.configuration.email_settings import read_mail_server


@pytest.mark.parametrize(
    ("url", "values"),
    [
        ("smtp://mail.example", ("mail.example", 25, "", "", False, False)),
        ("smtp+tls://u:p%40w@mail.example", ("mail.example", 587, "u", "p@w", True, False)),
        ("smtp+ssl://u:p@mail.example:4650", ("mail.example", 4650, "u", "p", False, True)),
    ],
)
def test_a_url_gives_host_port_user_and_encryption(url: str, values: tuple[Any, ...]) -> None:
    env = Environment({})
    config = read_mail_server(env, url)
    names = ("HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_TLS", "USE_SSL")
    assert tuple(config[f"EMAIL_{name}"] for name in names) == values
    assert config["EMAIL_BACKEND"].endswith("smtp.EmailBackend")
    assert env.problems == []


@pytest.mark.parametrize(
    "url", ["mail.example", "https://mail.example", "smtp://", "smtp://u:hidden@mail.example:port"]
)
def test_a_url_that_cannot_be_used_is_a_problem_and_not_repeated(url: str) -> None:
    env = Environment({})
    assert read_mail_server(env, url) == {}
    (problem,) = env.problems
    assert problem.startswith("EMAIL_URL: its value is not")
    assert "hidden" not in problem


def test_without_a_url_nothing_is_set() -> None:
    assert read_mail_server(Environment({}), "") == {}


@pytest.mark.parametrize(
    ("text", "emails"),
    [("a@b.example, c@d.example", ["a@b.example", "c@d.example"]), ("nobody", []), ("a@b@c", [])],
)
def test_addresses_are_read_or_refused(text: str, emails: list[str]) -> None:
    env = Environment({"ALERT_EMAILS": text})
    assert env.read_emails("ALERT_EMAILS", []) == emails
    assert bool(env.problems) is not bool(emails)
