"""Logins: three locks that cannot be turned against their owner, who asks behind a proxy, what the
audit log says.
"""

import asyncio
import logging
import threading
from datetime import timedelta
from ipaddress import ip_network

import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.utils import timezone

from providers.network import client_address
from proxysite import tasks
from proxysite.access import login_locks

pytestmark = pytest.mark.usefixtures("transactional_db")
PASSWORD = "correct horse battery"
HOME, AWAY, PROXY = "203.0.113.7", "198.51.100.9", "10.0.0.2"


@pytest.fixture
def admin():
    return User.objects.create_superuser("admin", password=PASSWORD)


def log_in(name="admin", password=PASSWORD, address=HOME, **headers):
    form = {"username": name, "password": password, "next": "/admin/"}
    return Client().post("/admin/login/", form, REMOTE_ADDR=address, **headers)


def fail(times, name="admin", address=AWAY):
    for _ in range(times):
        answer = log_in(name, "wrong", address)
    return answer


# --- the locks ------------------------------------------------------------------------------------
def test_ten_failures_lock_the_name_for_that_address_and_say_for_how_long(admin):
    assert fail(9).status_code == 200
    answer = fail(1)
    assert answer.status_code == 429
    assert 890 < int(answer.headers["retry-after"]) <= 900
    assert "Try again in 15 minutes" in answer.content.decode()
    assert log_in(address=AWAY).status_code == 429, "the right password does not help there"
    assert log_in(address=HOME).status_code == 302


def test_a_lock_ends_although_somebody_goes_on_trying(admin):
    fail(15)
    assert AccessAttempt.objects.get().failures_since_start == 10, "refused tries are not counted"
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert log_in(address=AWAY).status_code == 302


def test_a_good_login_forgets_ones_own_failures_alone(admin):
    fail(9, address=HOME)
    fail(3, "other", HOME)
    assert log_in().status_code == 302
    assert fail(9, address=HOME).status_code == 200
    assert AccessAttempt.objects.filter(username="other").exists()


@pytest.mark.settings(LOGIN_ADDRESS_LIMIT=20)
def test_an_address_that_tries_many_names_is_locked(admin):
    for number in range(20):
        answer = fail(1, f"name{number}")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 800
    assert log_in("name99", "wrong", AWAY).status_code == 429
    assert log_in(address=AWAY).status_code == 429
    assert log_in(address=HOME).status_code == 302


@pytest.mark.settings(LOGIN_ADDRESS_LIMIT=20)
def test_a_colleague_behind_the_same_address_locks_nobody_out_who_was_there_before(admin):
    assert log_in(address=AWAY).status_code == 302
    for number in range(20):
        fail(1, f"name{number}")
    assert log_in(address=AWAY).status_code == 302


@pytest.mark.settings(LOGIN_NAME_LIMIT=30, LOGIN_FAILURE_LIMIT=10)
def test_a_name_guessed_at_from_everywhere_is_slow_but_known_addresses_stay_in(admin):
    assert log_in(address=HOME).status_code == 302
    for number in range(30):
        answer = fail(1, address=f"192.0.2.{number}")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 10
    assert log_in(address=AWAY).status_code == 429
    assert log_in(address=HOME).status_code == 302, "the owner comes in where he was before"
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(seconds=11))
    assert log_in(address=AWAY).status_code == 302, "and one try each ten seconds is let through"


def test_addresses_of_one_ipv6_network_count_together(admin):
    for number in range(10):
        answer = log_in(password="wrong", address=f"2001:db8:1:2::{number:x}")
    assert answer.status_code == 429
    assert log_in(address="2001:db8:1:2:ffff::1").status_code == 429
    assert log_in(address="2001:db8:1:3::1").status_code == 302


def test_a_refused_login_hashes_nothing(admin, monkeypatch):
    fail(10)
    monkeypatch.setattr(
        ModelBackend, "authenticate", lambda *_, **__: pytest.fail("asked for the password")
    )
    assert log_in(address=AWAY).status_code == 429


@pytest.mark.parametrize("name", ["x" * 5_000, "adm\x00in", "\ud800", ""])
def test_an_impossible_name_is_a_failed_login_and_no_more(admin, name):
    assert (
        log_in(
            name.encode("utf-8", "surrogatepass").decode("utf-8", "replace"), "wrong"
        ).status_code
        == 200
    )


def test_what_no_lock_needs_is_deleted(admin):
    log_in()
    fail(1)
    tasks.clear_sessions()
    assert (AccessLog.objects.count(), AccessAttempt.objects.count()) == (1, 1)
    for model, days in ((AccessLog, 91), (AccessAttempt, 2)):
        model.objects.update(attempt_time=timezone.now() - timedelta(days=days))
    tasks.clear_sessions()
    assert (AccessLog.objects.count(), AccessAttempt.objects.count()) == (0, 0)


# --- who asks -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (AWAY, "", AWAY),
        (AWAY, HOME, AWAY),
        (PROXY, HOME, HOME),
        (PROXY, f"1.1.1.1, {HOME}", HOME),
        (PROXY, f"1.1.1.1, {HOME}, 10.0.0.3", HOME),
        (PROXY, f"{HOME}:4711", HOME),
        (PROXY, "[2001:db8::1]:4711", "2001:db8::1"),
        (PROXY, f"::ffff:{HOME}", HOME),
        (f"::ffff:{PROXY}", HOME, HOME),
        (PROXY, "nonsense", PROXY),
        (PROXY, f"{HOME}, nonsense", PROXY),
        (PROXY, "10.0.0.4", "10.0.0.4"),
        ("", HOME, "unknown"),
    ],
)
@pytest.mark.settings(TRUSTED_PROXIES=[ip_network("10.0.0.0/29")])
def test_the_rightmost_hop_that_is_not_trusted_is_the_caller(peer, forwarded, client):
    headers = {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {}
    request = RequestFactory().get("/", REMOTE_ADDR=peer, **headers)
    assert client_address.render_caller_address(request) == client


@pytest.mark.settings(TRUSTED_PROXIES=[ip_network(PROXY)])
def test_behind_a_trusted_proxy_nobody_locks_the_others_out(admin):
    for number in range(10):
        log_in(password="wrong", address=PROXY, HTTP_X_FORWARDED_FOR=f"{number}.9.9.9, {AWAY}")
    assert log_in(address=PROXY, HTTP_X_FORWARDED_FOR=AWAY).status_code == 429
    assert log_in(address=PROXY, HTTP_X_FORWARDED_FOR=HOME).status_code == 302


def test_a_proxy_that_is_not_named_is_hinted_at_once(admin, caplog, monkeypatch):
    monkeypatch.setattr(client_address, "_has_warned", False)
    for _ in range(3):
        log_in(address=PROXY, HTTP_X_FORWARDED_FOR=HOME)
    hints = [
        record.getMessage() for record in caplog.records if "TRUSTED_PROXIES" in record.getMessage()
    ]
    assert len(hints) == 1
    assert PROXY in hints[0]


# --- the audit log --------------------------------------------------------------------------------
@pytest.mark.settings(TRUSTED_PROXIES=[ip_network(PROXY)])
def test_the_audit_log_says_who_and_from_where_and_no_password(admin, caplog):
    caplog.set_level(logging.INFO, "audit")
    client = Client()
    form = {"username": "admin", "password": PASSWORD, "next": "/admin/"}
    client.post("/admin/login/", form, REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_FOR=HOME)
    client.post("/admin/logout/", REMOTE_ADDR=PROXY, HTTP_X_FORWARDED_FOR=HOME)
    fail(11)
    log_in("my-secret-pass-word", "x", AWAY)
    lines = [record.getMessage() for record in caplog.records if record.name == "audit"]
    assert lines[:2] == [f'login ok: "admin" from {HOME}', f'logout: "admin" from {HOME}']
    assert lines[2] == f'login failed: "admin" from {AWAY}'
    assert lines[-2].startswith("login locked for ")
    assert lines[-1] == f"login failed: an unknown name from {AWAY}", "which may be a password"
    assert PASSWORD not in caplog.text


# --- hashing --------------------------------------------------------------------------------------
@pytest.mark.settings(
    LOGINS_AT_ONCE=1, LOGINS_WAITING=6, LOGINS_WAITING_PER_ADDRESS=4, LOGIN_WAIT_SECONDS=30
)
async def test_one_password_is_hashed_at_a_time_and_answers_go_on(
    gateway, upstream, alice, monkeypatch
):
    running, most, go_on = [], [], threading.Event()

    def slow(self, request, username=None, password=None, **kwargs):
        running.append(1)
        most.append(len(running))
        go_on.wait(20)
        running.pop()

    monkeypatch.setattr(ModelBackend, "authenticate", slow)
    page = await gateway.send_request("GET", "/admin/login/")
    cookie = page.headers["set-cookie"].partition(";")[0]
    body = {"csrfmiddlewaretoken": cookie.partition("=")[2], "username": "a", "password": "b"}
    form = "&".join(f"{name}={value}" for name, value in body.items()).encode()
    headers = {"cookie": cookie, "content-type": "application/x-www-form-urlencoded"}

    def attempt():
        return asyncio.create_task(
            gateway.send_request("POST", "/admin/login/", headers=headers, content=form)
        )

    logins = [attempt() for _ in range(12)]
    done, waiting = await asyncio.wait(logins, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 7:
        more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    for task in done:
        assert task.result().status == 503
        assert int(task.result().headers["retry-after"]) > 0
    assert len(waiting) == 5, "one is served and four wait: they all come from one address"
    assert (await gateway.request_chat(alice.key)).status == 200
    assert (await gateway.send_request("GET", "/readyz")).status == 200
    go_on.set()
    assert {(await task).status for task in waiting} == {200}
    assert max(most) == 1


@pytest.mark.settings(LOGINS_AT_ONCE=1)
async def test_who_leaves_keeps_the_place_until_the_hashing_ends(gateway, monkeypatch):
    most, running, entered, go_on = [], [], threading.Event(), threading.Event()

    def slow(self, request, username=None, password=None, **kwargs):
        running.append(1)
        most.append(len(running))
        entered.set()
        go_on.wait(20)
        running.pop()

    monkeypatch.setattr(ModelBackend, "authenticate", slow)
    page = await gateway.send_request("GET", "/admin/login/")
    cookie = page.headers["set-cookie"].partition(";")[0]
    form = f"csrfmiddlewaretoken={cookie.partition('=')[2]}&username=a&password=b".encode()
    head = b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nCookie: %b\r\n" % cookie.encode()
    head += b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(
        form
    )
    for _ in range(3):
        async with gateway.open_bare_connection() as wire:
            await wire.send(head + form)
            await asyncio.to_thread(entered.wait, 10)
    assert (await gateway.send_request("GET", "/readyz")).status == 200, (
        "the loop does not wait for a thread"
    )
    go_on.set()
    headers = {"cookie": cookie, "content-type": "application/x-www-form-urlencoded"}
    assert (
        await gateway.send_request("POST", "/admin/login/", headers=headers, content=form)
    ).status == 200
    assert max(most) == 1


def test_requests_that_hash_are_known():
    from proxysite.access.password_gate import may_hash_password

    make = RequestFactory()
    for path in (
        "/admin/login/",
        "/admin/password_change/",
        "/admin/auth/user/add/",
        "/admin/auth/user/3/password/",
    ):
        assert may_hash_password(make.post(path)), path
        assert not may_hash_password(make.get(path)), path
    assert not may_hash_password(make.post("/admin/tokens/stats"))


def test_a_known_address_is_one_where_the_same_user_was(admin):
    log_in(address=HOME)
    now = timezone.now()
    assert login_locks.is_known_address("admin", HOME, now)
    assert not login_locks.is_known_address("other", HOME, now)
    assert not login_locks.is_known_address("admin", AWAY, now)
    assert not login_locks.is_known_address("admin", HOME, now + timedelta(days=91))
