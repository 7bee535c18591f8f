"""The commands list_keys, rotate_key and set_team."""

import json

import pytest
from django.contrib.auth.models import User

from api import authentication, keys
from api.models import ApiKey, Team, TeamMember
from providers.tests.command_runner import refused, run

pytestmark = pytest.mark.django_db


@pytest.fixture
def issued() -> tuple[ApiKey, str]:
    limits = {"requests_per_minute": 60}
    return keys.create_key(User.objects.create_user("alice"), name="laptop", limits=limits)


# --- list_keys ------------------------------------------------------------------------------------
def test_keys_are_listed_without_their_secrets(issued: tuple[ApiKey, str]) -> None:
    row, secret = issued
    keys.create_key(User.objects.create_user("bob", is_active=False))
    text = run("list_keys")
    assert f"{row.prefix}…" in text
    assert "user inactive" in text
    assert secret not in text
    line = run("list_keys", "--user", "alice").splitlines()[1]
    assert line.split() == [f"{row.prefix}…", "alice", "laptop", "valid", "all", "rpm=60", "never"]
    (entry,) = json.loads(run("list_keys", "--user", "alice", "--format", "json"))
    assert (entry["prefix"], entry["limits"], entry["state"]) == (row.prefix, "rpm=60", "valid")
    assert row.digest not in json.dumps(entry)


def test_without_keys_the_list_says_how_to_make_one() -> None:
    assert "issue_key" in run("list_keys")
    assert refused("list_keys", "--user", "nobody") == "There is no user 'nobody'."


# --- rotate_key -----------------------------------------------------------------------------------
def test_the_new_secret_stands_alone_on_the_output(issued: tuple[ApiKey, str]) -> None:
    row, secret = issued
    new_secret = run("rotate_key", row.prefix).strip()
    assert new_secret != secret
    for key in (secret, new_secret):
        assert authentication.load_caller(keys.digest_key(key)) is not None
    run("rotate_key", new_secret[: keys.SHOWN_LENGTH], "--overlap", "0")
    assert authentication.load_caller(keys.digest_key(new_secret)) is None


def test_a_key_that_is_revoked_or_unknown_gets_no_secret(issued: tuple[ApiKey, str]) -> None:
    row, _ = issued
    assert "is not a time" in refused("rotate_key", row.prefix, "--overlap", "1")
    assert run("rotate_key", row.prefix, "--dry-run").endswith("would get a new secret.\n")
    ApiKey.objects.all().revoke()
    assert "is revoked" in refused("rotate_key", row.prefix)
    assert "No key begins" in refused("rotate_key", "sk-none")
    assert ApiKey.objects.count() == 1


# --- set_team -------------------------------------------------------------------------------------
@pytest.fixture
def users() -> None:
    for name in ("alice", "bob"):
        User.objects.create_user(name)


def list_members(name: str) -> list[str]:
    members = TeamMember.objects.filter(team__name=name)
    return sorted(members.values_list("user__username", flat=True))


def test_a_team_is_made_and_changed(users: None) -> None:
    assert run("set_team", "Firm") == "Team Firm added: 0 members.\n"
    words = ("--part-of", "Firm", "--member", "alice", "--member", "bob")
    assert run("set_team", "Research", *words) == "Team Research added, part of Firm: 2 members.\n"
    run("set_team", "Firm", "--member", "bob")
    assert (list_members("Firm"), list_members("Research")) == (["bob"], ["alice"])
    run("set_team", "Research", "--remove-member", "alice", "--part-of", "none")
    assert list_members("Research") == []
    assert Team.objects.get(name="Research").parent is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("New", "--member", "nobody"), "There is no user 'nobody'."),
        (("New", "--part-of", "Nobody"), "There is no team 'Nobody'"),
        (("Firm", "--part-of", "Firm"), "parent: A team cannot be part of itself."),
        (("Firm", "--remove-member", "bob"), "The user bob is no member of Firm."),
        (("",), "name: "),
    ],
)
def test_mistakes_change_no_team(users: None, words: tuple[str, ...], sentence: str) -> None:
    Team.objects.create(name="Firm")
    assert refused("set_team", *words).startswith(sentence)
    assert list(Team.objects.values_list("name", "parent")) == [("Firm", None)]


def test_a_dry_run_makes_no_team(users: None) -> None:
    assert "would be added" in run("set_team", "Firm", "--member", "alice", "--dry-run")
    assert not Team.objects.exists()
    assert not TeamMember.objects.exists()
