"""Accounts of those who were invited, and of those who sign up where that is allowed."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from api import authentication, keys
from api.invitations.invitation_links import give_secret, make_link_path
from api.models import ApiKey, Invitation, InvitationUse, LimitSet, Team, TeamMember
from api.tests.portal.conftest import read_main

pytestmark = pytest.mark.django_db
ACCOUNT = {
    "username": "carol",
    "password1": "correct horse battery",
    "password2": "correct horse battery",
    "email": "carol@example.org",
}


def create_invitation(**fields: Any) -> tuple[Invitation, str]:
    values = {"name": "course", "expires_at": timezone.now() + timedelta(days=1)}
    row = Invitation(**values | fields)
    secret = give_secret(row)
    row.save()
    return row, make_link_path(secret)


def test_an_invited_person_gets_an_account_with_its_team_limits_and_a_first_key() -> None:
    team = Team.objects.create(name="Birds")
    invitation, link = create_invitation(
        team=team, limits="rpm=60,budget=5/day", allowed_models=["echo"]
    )
    browser = Client()
    assert browser.get(link).status_code == 200
    answer = browser.post(link, ACCOUNT)
    (secret,) = set(re.findall(r"sk-ps-[0-9A-Za-z]{49}", answer.content.decode()))
    user = User.objects.get(username="carol")
    caller = authentication.load_caller(keys.digest_key(secret))
    assert caller is not None
    assert (caller.user_id, caller.team_id) == (user.pk, team.pk)
    limits = LimitSet.objects.get(user=user)
    assert (limits.requests_per_minute, limits.allowed_models) == (60, ["echo"])
    assert user.has_perm("api.issue_own_keys")
    assert not user.is_staff
    assert browser.get("/portal/").status_code == 200, "the person is logged in"
    use = InvitationUse.objects.get()
    assert (use.invitation_id, use.user_id) == (invitation.pk, user.pk)


def test_a_reload_of_the_answer_creates_no_second_key() -> None:
    _row, link = create_invitation(most_uses=5)
    browser = Client()
    browser.post(link, ACCOUNT)
    assert "You have an account" in browser.post(link, ACCOUNT).content.decode()
    assert "already exists" in Client().post(link, ACCOUNT).content.decode()
    assert ApiKey.objects.count() == 1
    assert Invitation.objects.get().use_count == 1


def test_an_invitation_works_as_often_as_it_says() -> None:
    _row, link = create_invitation(most_uses=2)
    for number in range(3):
        answer = Client().post(link, ACCOUNT | {"username": f"user{number}"})
    assert answer.status_code == 404
    assert User.objects.filter(username__startswith="user").count() == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"revoked_at": timezone.now()},
        {"expires_at": timezone.now() - timedelta(seconds=1)},
        {"use_count": 1},
    ],
)
def test_a_closed_invitation_answers_as_one_that_never_was(fields: dict[str, Any]) -> None:
    _row, link = create_invitation(**fields)
    closed = Client().get(link)
    unknown = Client().get(make_link_path("A" * 43))
    assert (closed.status_code, unknown.status_code) == (404, 404)
    assert read_main(closed) == read_main(unknown)
    assert Client().post(link, ACCOUNT).status_code == 404
    assert not User.objects.exists()


def test_a_weak_password_and_a_taken_name_use_nothing_up() -> None:
    User.objects.create_user("carol")
    _row, link = create_invitation()
    weak = {"password1": "12345", "password2": "12345", "username": "dave"}
    assert "too short" in Client().post(link, ACCOUNT | weak).content.decode()
    assert "already exists" in Client().post(link, ACCOUNT).content.decode()
    assert Invitation.objects.get().use_count == 0
    assert Client().post(link, ACCOUNT | {"username": "dave"}).status_code == 200


def test_opening_the_link_uses_nothing_up_and_tells_no_other_site() -> None:
    _row, link = create_invitation()
    answer = Client().get(link)
    # without any referrer a browser sends the form as from nowhere, and it is refused
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "no-store" in answer.headers["cache-control"]
    assert Invitation.objects.get().use_count == 0


def test_an_invitation_to_a_role_makes_a_member_of_staff() -> None:
    role = Group.objects.create(name="Watchers")
    _row, link = create_invitation(role=role, gives_key=False, may_issue_keys=False)
    assert Client().post(link, ACCOUNT).headers["location"] == "/portal/"
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser, list(user.groups.all())) == (True, False, [role])
    assert not user.has_perm("api.issue_own_keys")
    assert not ApiKey.objects.exists()


def test_only_the_digest_of_a_link_is_stored() -> None:
    _row, link = create_invitation()
    secret = link.split("/")[-2]
    stored = str(Invitation.objects.values().get())
    assert secret not in stored
    assert secret[:6] in stored


def test_nobody_signs_up_unless_the_operator_allows_it() -> None:
    assert Client().get("/portal/sign-up/").status_code == 404
    assert Client().post("/portal/sign-up/", ACCOUNT).status_code == 404
    assert "sign-up" not in Client().get("/portal/login/").content.decode()
    assert not User.objects.exists()


@pytest.mark.settings(PORTAL_SIGN_UP=True, PORTAL_SIGN_UP_TEAM="Guests", PORTAL_SIGN_UPS_PER_HOUR=1)
def test_who_signs_up_is_a_plain_user_of_the_team_and_their_number_is_bounded() -> None:
    assert "sign-up" in Client().get("/portal/login/").content.decode()
    forged = {"is_staff": "on", "is_superuser": "on"}
    answer = Client().post("/portal/sign-up/", ACCOUNT | forged)
    assert answer.headers["location"] == "/portal/"
    user = User.objects.get()
    assert not user.is_staff
    assert not user.is_superuser
    assert TeamMember.objects.get(user=user).team.name == "Guests"
    later = Client().post("/portal/sign-up/", ACCOUNT | {"username": "dave"})
    assert later.status_code == 429
    assert User.objects.count() == 1
