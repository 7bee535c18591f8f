"""The pages of sessions and of lock-outs."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from proxysite import tasks
from proxysite.models import AuditEntry, LoginSession

pytestmark = pytest.mark.usefixtures("transactional_db")
SESSIONS = "/admin/proxysite/loginsession/"
LOCKS = "/admin/locks/"
PASSWORD = "correct horse battery"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def boss() -> Client:
    User.objects.create_superuser("boss", password=PASSWORD)
    client = Client(headers={"user-agent": FIREFOX}, REMOTE_ADDR="203.0.113.7")
    client.post("/admin/login/", {"username": "boss", "password": PASSWORD, "next": "/admin/"})
    return client


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice", password=PASSWORD)


def lock_out(name: str = "boss", address: str = "198.51.100.9") -> None:
    form = {"username": name, "password": "wrong", "next": "/admin/"}
    for _ in range(10):
        answer = Client().post("/admin/login/", form, REMOTE_ADDR=address)
    assert answer.status_code == 429


# --- sessions -------------------------------------------------------------------------------------
def test_the_page_says_who_is_logged_in_from_where_with_which_browser(boss: Client) -> None:
    html = boss.get(SESSIONS).content.decode()
    for text in ("boss", "203.0.113.7", "Firefox, Linux", "this one"):
        assert text in html


def test_a_session_that_is_ended_asks_for_the_password(boss: Client, alice: User) -> None:
    browser = Client()
    browser.force_login(alice)
    row = LoginSession.objects.get(user=alice)
    boss.post(SESSIONS, {"action": "end", "_selected_action": [row.pk], "index": 0})
    assert "_auth_user_id" not in browser.session
    assert not LoginSession.objects.filter(user=alice).exists()
    assert AuditEntry.objects.filter(message="Session ended.").exists()


def test_all_sessions_of_a_user_end_by_one_of_them(boss: Client, alice: User) -> None:
    browsers = [Client(), Client()]
    for browser in browsers:
        browser.force_login(alice)
    row = LoginSession.objects.filter(user=alice).first()
    assert row is not None
    posted = {"action": "end_all_of_users", "_selected_action": [row.pk], "index": 0}
    boss.post(SESSIONS, posted)
    assert all("_auth_user_id" not in browser.session for browser in browsers)


def test_a_colleague_ends_no_session_of_a_superuser(boss: Client) -> None:
    ops = User.objects.create_user("ops", is_staff=True)
    names = ["view_loginsession", "delete_loginsession"]
    ops.user_permissions.add(*Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(ops)
    row = LoginSession.objects.get(user__username="boss")
    client.post(SESSIONS, {"action": "end", "_selected_action": [row.pk], "index": 0})
    assert LoginSession.objects.filter(pk=row.pk).exists()


@pytest.mark.settings(SESSION_SEEN_SECONDS=0)
def test_a_browser_is_seen_with_each_request(boss: Client) -> None:
    before = timezone.now() - timedelta(hours=1)
    LoginSession.objects.update(last_seen_at=before)
    boss.get("/admin/")
    assert LoginSession.objects.get().last_seen_at > before + timedelta(minutes=59)


@pytest.mark.settings(SESSION_SEEN_SECONDS=3_600)
def test_a_browser_is_not_written_again_within_the_setting(boss: Client) -> None:
    before = timezone.now() - timedelta(minutes=1)
    LoginSession.objects.update(last_seen_at=before)
    boss.get("/admin/")
    assert LoginSession.objects.get().last_seen_at == before


def test_ended_sessions_are_cleared_away(boss: Client) -> None:
    Session.objects.update(expire_date=timezone.now() - timedelta(days=1))
    LoginSession.objects.update(last_seen_at=timezone.now() - timedelta(days=1))
    tasks.clear_sessions()
    assert not LoginSession.objects.exists()


# --- lock-outs ------------------------------------------------------------------------------------
def test_a_lock_is_seen_and_lifted_by_a_button(boss: Client) -> None:
    lock_out()
    html = boss.get(LOCKS).content.decode()
    assert "198.51.100.9" in html
    posted = {"kind": "both", "name": "boss", "address": "198.51.100.9"}
    boss.post(f"{LOCKS}lift", posted)
    form = {"username": "boss", "password": PASSWORD, "next": "/admin/"}
    assert Client().post("/admin/login/", form, REMOTE_ADDR="198.51.100.9").status_code == 302
    entry = AuditEntry.objects.get(message="Lock-out lifted.")
    assert (entry.actor_name, entry.object_name) == ("boss", "boss 198.51.100.9")
    assert "Nobody is locked out" in boss.get(LOCKS).content.decode()


@pytest.mark.settings(LOGIN_ADDRESS_LIMIT=10, LOGIN_NAME_LIMIT=10)
def test_the_three_kinds_of_locks_are_told_apart(boss: Client) -> None:
    lock_out()
    html = boss.get(LOCKS).content.decode()
    for text in ("this name from this address", "everybody from this address", "slowed down"):
        assert text in html


@pytest.mark.parametrize(
    "posted",
    [
        {"kind": "address", "address": ""},
        {"kind": "all", "address": "198.51.100.9"},
        {"kind": "both", "name": "boss", "address": "nowhere"},
        {},
    ],
)
def test_an_odd_form_lifts_nothing(boss: Client, posted: dict[str, str]) -> None:
    lock_out()
    boss.post(f"{LOCKS}lift", posted)
    assert AccessAttempt.objects.exists()


def test_locks_need_their_permissions() -> None:
    looker = User.objects.create_user("looker", is_staff=True)
    client = Client()
    client.force_login(looker)
    assert client.get(LOCKS).status_code == 403
    looker.user_permissions.add(Permission.objects.get(codename="view_accessattempt"))
    assert client.get(LOCKS).status_code == 200
    assert client.post(f"{LOCKS}lift", {"kind": "name", "name": "boss"}).status_code == 403


def test_the_pages_of_django_axes_have_no_buttons(boss: Client) -> None:
    lock_out()
    row = AccessAttempt.objects.get()
    address = f"/admin/axes/accessattempt/{row.pk}/"
    assert b'name="_save"' not in boss.get(f"{address}change/").content
    assert boss.post(f"{address}delete/", {"post": "yes"}).status_code == 403
