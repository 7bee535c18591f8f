"""A user's own keys: issued within bounds, shown once, rotated and revoked."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from api import authentication, keys
from api.models import ApiKey, LimitSet, Team, TeamMember

NEW = "/portal/keys/new/"


def read_form_number(browser: Client, address: str) -> str:
    html = browser.get(address).content.decode()
    (number,) = re.findall(r'name="form_number" value="([^"]+)"', html)
    return str(number)


def make_form(browser: Client, address: str = NEW, **values: Any) -> dict[str, Any]:
    number = read_form_number(browser, address)
    return {"name": "laptop", "expires_in": "30", "form_number": number} | values


def read_secret(answer: Any) -> str:
    (secret,) = set(re.findall(r"sk-ps-[0-9A-Za-z]{49}", answer.content.decode()))
    return str(secret)


def test_a_key_is_shown_once_with_ready_snippets_and_works(browser: Client, alice: User) -> None:
    form = make_form(browser, models=["parrot"], day_budget_usd="2")
    answer = browser.post(NEW, form)
    secret = read_secret(answer)
    assert "no-store" in answer.headers["cache-control"]
    caller = authentication.load_caller(keys.digest_key(secret))
    assert caller is not None
    assert (caller.user_id, caller.allowed_models) == (alice.pk, {"parrot"})
    assert "&quot;parrot&quot;" in answer.content.decode(), "a model that the key may use"

    row = ApiKey.objects.get()
    assert row.expires_at is not None
    assert timedelta(days=29) < row.expires_at - timezone.now() < timedelta(days=31)
    assert LimitSet.objects.get(key=row).day_budget_usd == 2
    stored = [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    stored += [str(session.get_decoded()) for session in Session.objects.all()]
    stored += [
        browser.get(address).content.decode()
        for address in ("/portal/keys/", f"/portal/keys/{row.pk}/", "/portal/")
    ]
    assert row.prefix in "".join(stored)
    assert secret not in "".join(stored)


def test_a_form_that_is_sent_again_issues_no_second_key(browser: Client) -> None:
    form = make_form(browser)
    browser.post(NEW, form)
    answer = browser.post(NEW, form, follow=True)
    assert "sent twice" in answer.content.decode()
    assert ApiKey.objects.count() == 1


def test_a_user_without_the_right_cannot_issue_keys(
    browser: Client, alice: User, settings: Any
) -> None:
    form = make_form(browser)
    alice.user_permissions.clear()
    assert browser.get(NEW).status_code == 403
    assert browser.post(NEW, form).status_code == 403
    assert NEW not in browser.get("/portal/keys/").content.decode()
    assert not ApiKey.objects.exists()
    settings.PORTAL_KEYS = "all"
    assert browser.get(NEW).status_code == 200


@pytest.mark.settings(PORTAL_KEYS="nobody")
def test_the_operator_can_keep_all_keys_to_himself(browser: Client) -> None:
    assert browser.get(NEW).status_code == 403


@pytest.mark.settings(PORTAL_MOST_KEYS=2)
def test_a_user_has_at_most_so_many_valid_keys(browser: Client, alice: User) -> None:
    keys.create_key(alice)
    browser.post(NEW, make_form(browser))
    answer = browser.post(NEW, make_form(browser))
    assert "may have no more" in answer.content.decode()
    assert ApiKey.objects.count() == 2
    ApiKey.objects.filter(name="laptop").revoke()
    assert b"sk-ps-" in browser.post(NEW, make_form(browser)).content


@pytest.mark.settings(PORTAL_LONGEST_KEY_DAYS=30)
def test_no_key_outlives_what_the_operator_allows(browser: Client) -> None:
    for days in ("0", "31", "365", "-1"):
        answer = browser.post(NEW, make_form(browser, expires_in=days))
        assert "Select a valid choice" in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_models_that_the_user_may_not_use_are_neither_offered_nor_taken(
    browser: Client, alice: User
) -> None:
    team = Team.objects.create(name="Birds")
    TeamMember.objects.create(user=alice, team=team)
    LimitSet.objects.create(team=team, allowed_models=["parrot"])
    assert 'value="echo"' not in browser.get(NEW).content.decode()
    answer = browser.post(NEW, make_form(browser, models=["echo"]))
    assert "Select a valid choice" in answer.content.decode()
    assert not ApiKey.objects.exists()


@pytest.mark.settings(DEFAULT_KEY_LIMITS="rpm=60,budget=5/day")
def test_a_key_gets_the_default_limits_and_can_only_be_narrower(browser: Client) -> None:
    answer = browser.post(NEW, make_form(browser, requests_per_minute="61"))
    assert "At most 60." in answer.content.decode()
    assert not ApiKey.objects.exists()
    browser.post(NEW, make_form(browser, requests_per_minute="10"))
    limits = LimitSet.objects.get()
    assert (limits.requests_per_minute, limits.day_budget_usd) == (10, 5)


def test_a_rotated_key_has_a_new_secret_and_the_old_one_works_as_long_as_chosen(
    browser: Client, alice: User
) -> None:
    row, old_secret = keys.create_key(alice, name="laptop")
    page = f"/portal/keys/{row.pk}/"
    form = make_form(browser, page, overlap_hours="24")
    new_secret = read_secret(browser.post(f"{page}rotate/", form))
    assert authentication.load_caller(keys.digest_key(new_secret)) is not None
    old = authentication.load_caller(keys.digest_key(old_secret))
    assert old is not None
    assert old.expires_timestamp < (timezone.now() + timedelta(hours=25)).timestamp()
    browser.post(f"{page}rotate/", form)
    assert ApiKey.objects.count() == 2, "sent again, it rotates nothing"


def test_who_cannot_issue_keys_rotates_a_limited_key_without_an_overlap(
    browser: Client, alice: User
) -> None:
    alice.user_permissions.clear()
    row, old_secret = keys.create_key(alice, limits={"day_budget_usd": 5})
    page = f"/portal/keys/{row.pk}/"
    answer = browser.post(f"{page}rotate/", make_form(browser, page, overlap_hours="24"))
    assert "Select a valid choice" in answer.content.decode()
    browser.post(f"{page}rotate/", make_form(browser, page, overlap_hours="0"))
    assert authentication.load_caller(keys.digest_key(old_secret)) is None


def test_a_revoked_key_is_refused_and_stays_in_the_list(browser: Client, alice: User) -> None:
    row, secret = keys.create_key(alice)
    assert browser.get(f"/portal/keys/{row.pk}/revoke/").status_code == 405
    browser.post(f"/portal/keys/{row.pk}/revoke/")
    assert authentication.load_caller(keys.digest_key(secret)) is None
    assert "revoked" in browser.get("/portal/keys/").content.decode()
    assert LogEntry.objects.get().change_message == "Revoked in the portal."
    page = f"/portal/keys/{row.pk}/"
    answer = browser.post(f"{page}rotate/", {"form_number": "1", "overlap_hours": "0"})
    assert authentication.load_caller(keys.digest_key(secret)) is None
    assert b"sk-ps-" not in answer.content or answer.content.count(row.prefix.encode()) > 0


def test_a_form_from_another_site_issues_nothing(alice: User, provider: Any) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice, "django.contrib.auth.backends.ModelBackend")
    answer = strict.post(NEW, {"name": "x", "expires_in": "30", "form_number": "1"})
    assert answer.status_code == 403
    assert not ApiKey.objects.exists()


@pytest.mark.settings(PORTAL_MOST_KEYS=1)
def test_the_key_of_a_playground_session_is_none_of_the_keys_of_the_user(
    browser: Client, alice: User
) -> None:
    assert browser.get("/playground/").status_code == 200, "who may issue keys may try models"
    browser.post("/playground/key")
    session_key = ApiKey.objects.get()
    assert session_key.prefix not in browser.get("/portal/keys/").content.decode()
    assert browser.get(f"/portal/keys/{session_key.pk}/").status_code == 404
    assert browser.post(f"/portal/keys/{session_key.pk}/revoke/").status_code == 404
    assert b"sk-ps-" in browser.post(NEW, make_form(browser)).content
    assert "/playground/" in browser.get("/portal/keys/").content.decode()
