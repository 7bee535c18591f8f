"""The audit log has each deed with the values before and after, and no secret."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client, RequestFactory
from django.utils import timezone

from api import keys
from api.models import ApiKey, LimitSet, Team
from api.tests.admin.pages import KEYS, inline_form, key_form, page_of
from providers.models import Provider
from proxysite.audit import audit_expiry
from proxysite.audit.actor import act_as_command, current_actor
from proxysite.audit.command_runs import run_and_record
from proxysite.models import AuditAction, AuditEntry

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
ADDRESS = "203.0.113.7"


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def row(alice: User) -> ApiKey:
    return keys.create_key(alice, name="laptop")[0]


def read_all() -> str:
    return json.dumps(list(AuditEntry.objects.values()), default=str)


def test_a_changed_key_is_noted_with_its_old_and_new_name(
    admin_client: Client, row: ApiKey, admin_user: User
) -> None:
    admin_client.post(page_of(row), key_form(name="desk", stores_content="on"), REMOTE_ADDR=ADDRESS)
    entry = AuditEntry.objects.get(action=AuditAction.CHANGED)
    assert (entry.actor_id, entry.actor_name, entry.address) == (admin_user.pk, "admin", ADDRESS)
    assert (entry.model, entry.object_id, entry.changes) == (
        "api.apikey",
        str(row.pk),
        {"name": ["laptop", "desk"]},
    )


def test_saving_a_row_as_it_is_makes_no_entry(admin_client: Client, row: ApiKey) -> None:
    admin_client.post(page_of(row), key_form(name="laptop", stores_content="on"))
    assert not AuditEntry.objects.filter(action=AuditAction.CHANGED).exists()


def test_a_revocation_by_a_bulk_update_has_its_time_before_and_after(
    admin_client: Client, row: ApiKey
) -> None:
    admin_client.post(
        KEYS, {"action": "revoke", "_selected_action": [row.pk], "index": 0, "confirmed": "yes"}
    )
    entry = AuditEntry.objects.get(action=AuditAction.DONE)
    before, after = entry.changes["revoked_at"]
    assert before is None
    assert after.startswith(str(timezone.now().year))


def test_a_new_key_is_noted_without_its_secret(admin_client: Client, alice: User) -> None:
    answer = admin_client.post(f"{KEYS}add/", key_form(user=alice.pk, name="laptop"))
    row = ApiKey.objects.get()
    entry = AuditEntry.objects.get(model="api.apikey")
    assert entry.action == AuditAction.ADDED
    assert entry.changes["user"] == [None, f"alice ({alice.pk})"]
    assert row.digest not in read_all()
    assert answer.context["key"] not in read_all()


def test_a_new_password_is_noted_as_changed_and_not_shown(
    admin_client: Client, alice: User
) -> None:
    admin_client.post(
        f"/admin/auth/user/{alice.pk}/password/",
        {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"},
    )
    entry = AuditEntry.objects.filter(object_id=str(alice.pk), action=AuditAction.CHANGED).get()
    assert entry.changes == {"password": ["(secret)", "(secret)"]}
    alice.refresh_from_db()
    assert alice.password not in read_all()


def test_limits_of_a_team_are_noted_when_they_change_and_when_they_go(
    admin_client: Client,
) -> None:
    team = Team.objects.create(name="Research")
    limits = LimitSet.objects.create(team=team, requests_per_minute=5)
    address = f"/admin/api/team/{team.pk}/change/"
    inline = {"id": limits.pk, "team": team.pk, "budget_window": "calendar", "time_zone": "UTC"}
    posted = {"name": "Research", **inline_form("members"), **inline_form("members-2")}
    admin_client.post(
        address, posted | inline_form("limit_set", 1, 1, **inline, requests_per_minute=9)
    )
    changed = AuditEntry.objects.get(action=AuditAction.CHANGED)
    assert (changed.model, changed.changes) == ("api.limitset", {"requests_per_minute": [5, 9]})
    admin_client.post(f"/admin/api/team/{team.pk}/delete/", {"post": "yes"})
    gone = AuditEntry.objects.filter(action=AuditAction.DELETED)
    assert {entry.model for entry in gone} == {"api.limitset", "api.team"}


def test_a_role_that_somebody_gets_is_noted(admin_user: User, alice: User) -> None:
    group = Group.objects.create(name="Helpers")
    request = RequestFactory().get("/")
    request.user = admin_user
    from proxysite.audit.actor import Actor

    token = current_actor.set(Actor(request))
    alice.groups.add(group)
    current_actor.reset(token)
    assert AuditEntry.objects.get().changes == {"groups": ["", "Helpers"]}


def test_a_deleted_user_is_noted_once_and_the_log_outlives_both(
    admin_client: Client, alice: User, admin_user: User
) -> None:
    admin_client.post(f"/admin/auth/user/{alice.pk}/delete/", {"post": "yes"})
    entry = AuditEntry.objects.get(action=AuditAction.DELETED, model="auth.user")
    assert entry.object_name == "alice"
    User.objects.all().delete()
    assert AuditEntry.objects.filter(actor_name=admin_user.username).exists()


def test_headers_and_passwords_in_addresses_of_a_provider_are_not_shown(
    admin_user: User,
) -> None:
    with act_as_command("add_provider"):
        Provider.objects.create(
            name="p",
            kind="echo",
            base_url="https://me:hunter2@api.example/v1",
            headers={"Authorization": "Bearer hunter3"},
        )
    text = read_all()
    assert "command line" in text
    assert "hunter" not in text


def test_nothing_is_noted_of_what_nobody_known_does(row: ApiKey) -> None:
    row.name = "desk"
    row.save()
    assert not AuditEntry.objects.exists()


def test_logins_and_logouts_are_noted_with_their_address() -> None:
    User.objects.create_superuser("boss", password=PASSWORD)
    client = Client(REMOTE_ADDR=ADDRESS)
    client.post("/admin/login/", {"username": "boss", "password": PASSWORD, "next": "/admin/"})
    client.post("/admin/logout/")
    noted = AuditEntry.objects.order_by("id").values_list("action", "actor_name", "address")
    assert list(noted) == [("login", "boss", ADDRESS), ("logout", "boss", ADDRESS)]


def test_a_command_is_noted_with_its_options_and_no_secret(alice: User) -> None:
    def execute(*args: object, **options: object) -> None:
        keys.create_key(alice, name="ci")

    run_and_record(
        "issue_key", execute, name="ci", user="alice", models="m", token="sk-x", dry_run=False
    )
    command = AuditEntry.objects.get(action=AuditAction.COMMAND)
    assert command.message == "issue_key name=ci user=alice models=m token=(secret)"
    added = AuditEntry.objects.get(action=AuditAction.ADDED)
    assert (added.actor_name, added.model) == ("command line", "api.apikey")


def test_a_deed_on_very_many_rows_is_one_entry(
    admin_client: Client, row: ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.admin.big_tables.MOST_AUDITED", 1)
    other, _ = keys.create_key(row.user)
    posted = {
        "action": "revoke",
        "_selected_action": [row.pk, other.pk],
        "index": 0,
        "confirmed": "yes",
    }
    admin_client.post(KEYS, posted)
    assert AuditEntry.objects.get(action=AuditAction.DONE).object_name == "more than 1 API key"


@pytest.mark.settings(AUDIT_DAYS=30)
def test_entries_older_than_the_setting_go(admin_user: User) -> None:
    old = timezone.now() - timedelta(days=31)
    AuditEntry.objects.create(actor_name="a", action="done", at=old)
    kept = AuditEntry.objects.create(actor_name="b", action="done")
    assert audit_expiry.delete_old_entries() == 1
    assert list(AuditEntry.objects.all()) == [kept]
