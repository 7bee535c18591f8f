"""A change of limits, memberships or teams marks the keys that it concerns, and no others."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from api import keys
from api.apps import list_trigger_sets
from api.authentication.keyring import read_changed_keys
from api.limit_triggers import list_limit_triggers
from api.models import ApiKey, LimitSet, Team, TeamMember
from providers.database.database_threads import run_in_thread
from providers.database.triggers import drop_triggers, install_triggers
from providers.tests.database.topics import version
from proxysite.testing import wait_until_true
from proxysite.testing.rows import Person

pytestmark = pytest.mark.usefixtures("transactional_db")


class People:
    """Alice and Mallory, in two teams of which one is part of the other, and Carol in none."""

    def __init__(self) -> None:
        self.firm = Team.objects.create(name="Firm")
        self.research = Team.objects.create(name="Research", parent=self.firm)
        self.keys: dict[str, ApiKey] = {}
        for name, team in (("alice", self.research), ("mallory", self.firm), ("carol", None)):
            user = User.objects.create_user(name)
            self.keys[name] = keys.create_key(user)[0]
            if team:
                TeamMember.objects.create(user=user, team=team)

    def list_changed(self, deed: Callable[[], Any]) -> list[str]:
        """Return whose keys a change marks."""
        seen = version("keys")
        deed()
        ids = {row[0] for row in read_changed_keys(seen).rows}
        return sorted(name for name, key in self.keys.items() if key.pk in ids)


@pytest.fixture
def people(transactional_db: None) -> People:
    return People()


MEMBERS = ["alice", "mallory"]


@pytest.mark.parametrize(
    ("subject", "names"), [("key", ["alice"]), ("user", ["alice"]), ("team", MEMBERS)]
)
def test_limits_concern_their_keys_from_first_to_last(
    people: People, subject: str, names: list[str]
) -> None:
    key = people.keys["alice"]
    row = {"key": key, "user": key.user, "team": people.firm}[subject]
    limits = LimitSet(**{subject: row}, requests_per_minute=5)
    assert people.list_changed(limits.save) == names
    limits.requests_per_minute = 6
    assert people.list_changed(limits.save) == names
    assert people.list_changed(lambda: LimitSet.objects.update(tokens_per_minute=9)) == names
    assert people.list_changed(lambda: LimitSet.objects.all().delete()) == names


def test_limits_of_nobody_with_keys_concern_no_key(people: People) -> None:
    stranger = User.objects.create_user("stranger")
    assert people.list_changed(lambda: LimitSet.objects.create(user=stranger)) == []


def test_a_limit_that_moves_concerns_both_keys(people: People) -> None:
    limits = LimitSet.objects.create(key=people.keys["alice"])
    limits.key = people.keys["carol"]
    assert people.list_changed(limits.save) == ["alice", "carol"]


def test_a_membership_concerns_the_keys_of_its_user(people: People) -> None:
    carol = people.keys["carol"].user
    member = TeamMember(user=carol, team=people.firm)
    assert people.list_changed(member.save) == ["carol"]
    member.team = people.research
    assert people.list_changed(member.save) == ["carol"]
    assert people.list_changed(member.delete) == ["carol"]


def test_a_team_concerns_all_members_of_teams(people: People) -> None:
    people.research.parent = None
    assert people.list_changed(people.research.save) == MEMBERS
    assert people.list_changed(people.research.delete) == MEMBERS


def test_a_user_with_limits_and_a_team_can_be_deleted(people: People) -> None:
    key = people.keys["alice"]
    LimitSet.objects.create(key=key)
    LimitSet.objects.create(user=key.user)
    key.user.delete()
    assert not LimitSet.objects.exists()
    assert not ApiKey.objects.filter(pk=key.pk).exists()


def test_a_change_of_the_columns_of_keys_is_possible_without_the_triggers(people: People) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("Postgres adds a column without making the table anew")
    try:
        with connection.schema_editor() as editor:
            for trigger_set in list_limit_triggers():
                drop_triggers(connection, trigger_set)
            editor.execute("DROP TRIGGER IF EXISTS proxysite_user_switched")
            editor._remake_table(ApiKey)
    finally:
        install_triggers(connection, list_trigger_sets())
    assert people.list_changed(lambda: LimitSet.objects.create(key=people.keys["alice"])) == [
        "alice"
    ]


async def test_a_running_gateway_drops_the_caller(gateway: Any, alice: Person) -> None:
    await gateway.reload_rows()
    known = gateway.inner.keyring._digests_by_key
    assert (await gateway.send_request("GET", "/v1/models", alice.key)).status == 200
    assert alice.row.pk in known
    await run_in_thread(LimitSet.objects.create, user=alice.row.user, requests_per_minute=5)
    await wait_until_true(lambda: alice.row.pk not in known)
