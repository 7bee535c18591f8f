"""A forgotten password: a link by e-mail, the same answer for every address."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache
from django.test import Client

from api import tasks
from api.portal.signing_in import password_reset
from api.tests.portal.conftest import read_main

PAGE = "/portal/password/reset/"


@pytest.fixture
def sent_tasks(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    settings.EMAIL_URL = "smtp://localhost:25"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    cache.clear()
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        password_reset.current_app,
        "send_task",
        lambda name, args, retry: found.append((name, *args)),
    )
    return found


def test_without_a_mail_server_the_page_is_not_there(alice: User, settings: Any) -> None:
    settings.EMAIL_URL = ""
    assert Client().get(PAGE).status_code == 404
    assert "Forgot" not in Client().get("/portal/login/").content.decode()


def test_known_and_unknown_addresses_get_the_same_answer_and_work(
    alice: User, sent_tasks: list[Any]
) -> None:
    assert "Forgot" in Client().get("/portal/login/").content.decode()
    known = Client().post(PAGE, {"email": "alice@example.org"})
    unknown = Client().post(PAGE, {"email": "nobody@example.org"})
    assert known.status_code == unknown.status_code
    assert read_main(known) == read_main(unknown)
    assert [name for name, *_rest in sent_tasks] == ["api.tasks.send_password_reset"] * 2
    for _name, *arguments in sent_tasks:
        tasks.send_password_reset(*arguments)
    assert [message.to for message in mail.outbox] == [["alice@example.org"]]


def test_the_link_sets_a_new_password_once(alice: User, sent_tasks: list[Any]) -> None:
    Client().post(PAGE, {"email": "alice@example.org"})
    tasks.send_password_reset(*sent_tasks[0][1:])
    (link,) = re.findall(r"http://testserver(\S+)", str(mail.outbox[0].body))
    browser = Client()
    form_page = browser.get(link).headers["location"]
    passwords = {
        "new_password1": "another long phrase",
        "new_password2": "another long phrase",
    }
    assert browser.post(form_page, passwords).status_code == 302
    alice.refresh_from_db()
    assert alice.check_password("another long phrase")
    assert "used already" in Client().get(link, follow=True).content.decode()


def test_a_user_gets_one_e_mail_in_a_while_however_often_somebody_asks(
    alice: User, sent_tasks: list[Any]
) -> None:
    for _ in range(5):
        tasks.send_password_reset("alice@example.org", "gateway.example", True, "en")
    assert len(mail.outbox) == 1
    assert "https://gateway.example/portal/password/reset/" in str(mail.outbox[0].body)
