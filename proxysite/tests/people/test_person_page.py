"""The pages of users: what a page shows to whom, and its buttons."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone

from api import authentication, keys
from api.models import LimitSet, UsageDay
from api.models.usage_rollup import NIL_UUID
from proxysite.models import AuditEntry, LoginSession
from proxysite.people import roles

pytestmark = pytest.mark.django_db
USERS = "/admin/auth/user/"
PASSWORD = "correct horse battery"


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice", password=PASSWORD)


def page_of(person: User) -> str:
    return f"{USERS}{person.pk}/change/"


def create_day(person: User, **fields: object) -> None:
    sums = dict.fromkeys(
        """prompt_tokens completion_tokens reasoning_tokens cached_tokens cache_write_tokens
        cost_micro_usd unknown_cost_requests""".split(),
        0,
    )
    subject = {"key_id": 0, "team_id": 0, "model": "m", "provider_id": 0, "token_id": NIL_UUID}
    UsageDay.objects.create(
        **sums | subject | {"user_id": person.pk, "status": "complete", "requests": 3} | fields
    )


def read_page(client: Client, person: User) -> str:
    answer = client.get(page_of(person))
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_the_page_has_keys_usage_limits_content_and_sessions(
    admin_client: Client, alice: User
) -> None:
    row, _ = keys.create_key(alice, name="laptop")
    LimitSet.objects.create(user=alice, total_budget_usd=5)
    create_day(alice, slot=timezone.now().date(), cost_micro_usd=2_500_000)
    Client().force_login(alice)
    html = read_page(admin_client, alice)
    assert str(row) in html
    assert "<svg" in html
    assert '<td class="number">5</td>' in html
    assert f"conversation/?user__id__exact={alice.pk}" in html
    assert "Nobody is logged in" not in html
    assert f"/admin/api/apikey/add/?user={alice.pk}" in html


def test_a_colleague_sees_only_what_he_may(client: Client, alice: User) -> None:
    keys.create_key(alice, name="laptop")
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_user"))
    client.force_login(looker)
    html = read_page(client, alice)
    for text in ("laptop", "<svg class", "Stored content", "Logged in now", "Issue a key", "Block"):
        assert text not in html


def test_a_viewer_sees_keys_and_usage_but_no_content(client: Client, alice: User) -> None:
    roles.update_roles()
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.groups.add(Group.objects.get(name="Viewer"))
    keys.create_key(alice, name="laptop")
    client.force_login(viewer)
    html = read_page(client, alice)
    assert "laptop" in html
    assert "Stored content" not in html


def test_a_blocked_person_has_no_session_and_no_key_and_loses_nothing(
    admin_client: Client, alice: User
) -> None:
    row, _ = keys.create_key(alice)
    browser = Client()
    browser.force_login(alice)
    admin_client.post(f"{USERS}{alice.pk}/block/")
    assert authentication.load_caller(row.digest) is None
    assert not LoginSession.objects.filter(user=alice).exists()
    assert "_auth_user_id" not in browser.session
    assert "This user is blocked" in read_page(admin_client, alice)
    assert AuditEntry.objects.get(message="Blocked.").changes == {"is_active": [True, False]}
    admin_client.post(f"{USERS}{alice.pk}/unblock/")
    assert authentication.load_caller(row.digest) is not None


def test_nobody_blocks_himself(admin_client: Client, admin_user: User) -> None:
    answer = admin_client.post(f"{USERS}{admin_user.pk}/block/", follow=True)
    assert "You cannot block yourself" in answer.content.decode()
    admin_user.refresh_from_db()
    assert admin_user.is_active


def test_every_session_of_a_person_ends_also_one_from_before_the_table(
    admin_client: Client, alice: User
) -> None:
    browsers = [Client(), Client()]
    for browser in browsers:
        browser.force_login(alice)
    LoginSession.objects.filter(session_key=browsers[0].session.session_key).delete()
    answer = admin_client.post(f"{USERS}{alice.pk}/logout/", follow=True)
    assert "2 sessions ended." in answer.content.decode()
    assert all("_auth_user_id" not in browser.session for browser in browsers)


@pytest.mark.parametrize("deed", ["block", "unblock", "logout"])
def test_deeds_need_a_post_the_right_and_a_user_who_may_be_changed(
    client: Client, alice: User, admin_user: User, deed: str
) -> None:
    ops = User.objects.create_user("ops", is_staff=True)
    client.force_login(ops)
    assert client.post(f"{USERS}{alice.pk}/{deed}/").status_code == 403
    ops.user_permissions.add(Permission.objects.get(codename="change_user"))
    assert client.get(f"{USERS}{alice.pk}/{deed}/").status_code == 405
    assert client.post(f"{USERS}{admin_user.pk}/{deed}/").status_code == 403
    assert client.post(f"{USERS}999999/{deed}/").status_code == 404
    assert client.post(f"{USERS}{alice.pk}/{deed}/").status_code == 302
    posted = {"action": "block", "_selected_action": [alice.pk, admin_user.pk], "index": 0}
    client.post(USERS, posted)
    admin_user.refresh_from_db()
    alice.refresh_from_db()
    assert (admin_user.is_active, alice.is_active) == (True, False)


def test_rights_are_offered_in_plain_words_and_only_those_with_pages(
    admin_client: Client, alice: User
) -> None:
    html = read_page(admin_client, alice)
    assert "API keys: change" in html
    assert "event batch" not in html.lower()
    assert html.index('name="groups"') < html.index('name="user_permissions"')


def test_roles_are_explained_and_changed_by_superusers_alone(
    admin_client: Client, client: Client
) -> None:
    roles.update_roles()
    html = admin_client.get("/admin/auth/group/").content.decode()
    assert "Keeps the gateway running." in html
    boss = User.objects.create_user("boss", is_staff=True)
    boss.user_permissions.add(
        *Permission.objects.filter(codename__in=["view_group", "change_group", "add_group"])
    )
    client.force_login(boss)
    group = Group.objects.get(name="Viewer")
    assert client.get("/admin/auth/group/").status_code == 200
    assert client.post(f"/admin/auth/group/{group.pk}/change/", {"name": "x"}).status_code == 403
    assert client.get("/admin/auth/group/add/").status_code == 403


EMPTY_INLINES = {
    f"{inline}-{name}_FORMS": 0
    for inline in ("team_membership", "limit_set")
    for name in ("TOTAL", "INITIAL")
}
NEW_PERSON = {
    "username": "june",
    "usable_password": "true",
    "password1": "a-long-password-of-june",
    "password2": "a-long-password-of-june",
}


def test_a_new_user_with_a_role_may_log_in_to_the_desk(admin_client: Client) -> None:
    roles.update_roles()
    viewer = Group.objects.get(name="Viewer")
    admin_client.post(f"{USERS}add/", NEW_PERSON | {"groups": [viewer.pk]})
    june = User.objects.get(username="june")
    assert june.is_staff
    assert list(june.groups.all()) == [viewer]
    admin_client.post(f"{USERS}add/", NEW_PERSON | {"username": "mai"})
    assert not User.objects.get(username="mai").is_staff


def test_who_may_only_add_users_gives_no_role(client: Client) -> None:
    roles.update_roles()
    ops = User.objects.create_user("ops", is_staff=True)
    for right in ("add_user", "change_user", "view_user"):
        ops.user_permissions.add(Permission.objects.get(codename=right))
    client.force_login(ops)
    assert 'name="groups"' not in client.get(f"{USERS}add/").content.decode()
    role = Group.objects.get(name="Administrator")
    client.post(f"{USERS}add/", NEW_PERSON | {"groups": [role.pk], "is_staff": "on"})
    june = User.objects.get(username="june")
    assert not june.is_staff
    assert not june.groups.exists()


@pytest.mark.parametrize("has_role", [False, True])
def test_only_a_new_role_makes_a_member_of_staff(
    admin_client: Client, alice: User, has_role: bool
) -> None:
    roles.update_roles()
    viewer = Group.objects.get(name="Viewer")
    if has_role:
        alice.groups.add(viewer)
    form = {"username": "alice", "is_active": "on", "groups": [viewer.pk], **EMPTY_INLINES}
    answer = admin_client.post(f"{USERS}{alice.pk}/change/", form)
    assert answer.status_code == 302
    alice.refresh_from_db()
    assert alice.is_staff is not has_role
