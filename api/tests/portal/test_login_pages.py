"""Log in and out of the portal, and change the password."""

import re

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import reverse

from api.tests.portal.conftest import PASSWORD
from proxysite.access.password_gate import may_hash_password

LOGIN = "/portal/login/"


def log_in(name: str, password: str = PASSWORD, target: str = "", **headers: str):
    form = {"username": name, "password": password, "next": target}
    return Client().post(LOGIN, form, **headers)


def test_a_user_who_is_no_staff_logs_in_and_comes_to_the_overview(alice: User) -> None:
    answer = log_in("alice")
    assert (answer.status_code, answer.headers["location"]) == (302, "/portal/")


def test_a_visitor_is_asked_to_log_in_and_comes_back_to_the_page(alice: User) -> None:
    answer = Client().get("/portal/usage/?range=7d")
    assert answer.headers["location"] == "/portal/login/?next=/portal/usage/%3Frange%3D7d"
    assert log_in("alice", target="/portal/usage/?range=7d").headers["location"].endswith("7d")


def test_who_is_logged_out_in_the_middle_of_a_form_comes_to_the_overview(alice: User) -> None:
    answer = Client().post("/portal/keys/new/", {"name": "x"})
    target = answer.headers["location"].partition("next=")[2]
    assert log_in("alice", target=target).headers["location"] == "/portal/"


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_a_login_leads_to_no_other_site(alice: User, target: str) -> None:
    assert log_in("alice", target=target).headers["location"] == "/portal/"


def test_an_unknown_a_blocked_and_a_known_name_get_the_same_answer(
    alice: User, mallory: User
) -> None:
    User.objects.filter(pk=mallory.pk).update(is_active=False)
    answers = [log_in("alice", "wrong"), log_in("nobody", "wrong"), log_in("mallory")]
    assert {answer.status_code for answer in answers} == {200}
    # the form shows the typed name again; nothing else differs
    texts = {
        re.sub(
            r'value="(alice|nobody|mallory)"|name="csrfmiddlewaretoken" value="[^"]*"',
            "",
            answer.content.decode(),
        )
        for answer in answers
    }
    assert len(texts) == 1


@pytest.mark.settings(AXES_FAILURE_LIMIT=3)
def test_failed_logins_lock_the_portal_as_they_lock_the_admin(alice: User) -> None:
    for _ in range(3):
        answer = log_in("alice", "wrong", REMOTE_ADDR="198.51.100.9")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "Too many failed logins" in answer.content.decode()
    assert AccessAttempt.objects.get().failures_since_start == 3
    form = {"username": "alice", "password": PASSWORD}
    admin_answer = Client().post("/admin/login/", form, REMOTE_ADDR="198.51.100.9")
    assert admin_answer.status_code == 429


@pytest.mark.parametrize(
    "path",
    [
        LOGIN,
        "/portal/password/",
        "/portal/password/reset/MQ/abc/",
        "/portal/join/token/",
        "/portal/sign-up/",
    ],
)
def test_each_page_that_hashes_a_password_waits_at_the_gate(path: str) -> None:
    assert may_hash_password(RequestFactory().post(path))
    assert not may_hash_password(RequestFactory().get(path))


def test_a_page_that_hashes_nothing_does_not_wait_at_the_gate() -> None:
    assert not may_hash_password(RequestFactory().post("/portal/keys/new/"))


def test_logging_out_needs_a_post(browser: Client) -> None:
    assert browser.get("/portal/logout/").status_code == 405
    assert browser.get("/portal/").status_code == 200
    assert browser.post("/portal/logout/").status_code == 302
    assert browser.get("/portal/").status_code == 302


def test_a_user_who_is_blocked_is_logged_out_at_once(browser: Client, alice: User) -> None:
    assert browser.get("/portal/").status_code == 200
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert browser.get("/portal/").headers["location"].startswith(LOGIN)


def test_a_new_password_ends_other_sessions_and_keeps_this_one(
    browser: Client, alice: User
) -> None:
    other = Client()
    other.force_login(alice, "django.contrib.auth.backends.ModelBackend")
    form = {
        "old_password": PASSWORD,
        "new_password1": "another long phrase",
        "new_password2": "another long phrase",
    }
    wrong = browser.post("/portal/password/", form | {"old_password": "wrong"})
    assert wrong.status_code == 200
    assert browser.post("/portal/password/", form).headers["location"] == "/portal/account/"
    assert browser.get("/portal/account/").status_code == 200
    assert other.get("/portal/account/").status_code == 302


@pytest.mark.settings(PORTAL=False)
def test_without_the_portal_every_address_of_it_is_unknown(browser: Client) -> None:
    for name in ("home", "login", "keys", "usage", "models", "sign-up"):
        assert browser.get(reverse(f"portal-{name}")).status_code == 404
    assert browser.post(LOGIN, {"username": "alice", "password": PASSWORD}).status_code == 404


def test_no_page_of_the_portal_is_stored_by_a_browser(browser: Client) -> None:
    for answer in (browser.get("/portal/"), Client().get(LOGIN)):
        assert "no-store" in answer.headers["cache-control"]


def test_who_logs_in_at_another_site_is_offered_no_password(browser: Client, alice: User) -> None:
    assert "/portal/password/" in browser.get("/portal/account/").content.decode()
    alice.set_unusable_password()
    alice.save()
    browser.force_login(alice, "django.contrib.auth.backends.ModelBackend")
    assert "/portal/password/" not in browser.get("/portal/account/").content.decode()
    assert browser.get("/portal/password/").status_code == 404
