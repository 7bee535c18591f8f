"""The key of a session of the playground: one per session, with the rights of an own key, and over
with the session.
"""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from api import keys
from api.key_rights import limit_rows
from api.models import ApiKey, LimitSet
from api.models.api_key import SESSION_KEY_PREFIX
from proxysite.testing import rows

pytestmark = pytest.mark.usefixtures("transactional_db")
ADDRESS = "/playground/key"


def sign_in(person) -> Client:
    client = Client()
    client.force_login(person.user)
    return client


def open_key(client, **fields):
    answer = client.post(ADDRESS, fields)
    assert answer.status_code == 200, answer.content
    return answer.json()["key"]


def list_session_rows():
    return list(ApiKey.objects.filter(prefix__startswith=SESSION_KEY_PREFIX).order_by("pk"))


def test_reloads_get_the_same_key_and_make_no_further_row(alice):
    client = sign_in(alice)
    texts = {open_key(client) for _ in range(3)}
    assert len(texts) == 1
    (row,) = list_session_rows()
    (text,) = texts
    assert row.user == alice.user
    assert row.digest == keys.digest_key(text)
    assert text.startswith(row.prefix)
    assert text not in str(list(Session.objects.values()))


def test_a_logout_revokes_the_key_and_the_next_session_uses_its_row_again(alice):
    client = sign_in(alice)
    first = open_key(client)
    client.logout()
    (row,) = list_session_rows()
    assert row.revoked_at is not None
    second = open_key(sign_in(alice))
    assert second != first
    (again,) = list_session_rows()
    assert (again.pk, again.revoked_at) == (row.pk, None)
    assert again.digest == keys.digest_key(second)


def test_a_new_password_ends_the_keys_of_all_sessions(alice):
    first, second = sign_in(alice), sign_in(alice)
    texts = [open_key(first), open_key(second)]
    alice.user.set_password("another horse battery")
    alice.user.save()
    assert all(row.revoked_at is not None for row in list_session_rows())
    assert second.post(ADDRESS).status_code == 403
    assert open_key(sign_in(alice)) not in texts


def test_a_login_without_a_new_password_ends_no_key(alice):
    client = sign_in(alice)
    open_key(client)
    alice.user.email = "alice@example.org"
    alice.user.save()
    assert list_session_rows()[0].revoked_at is None


def test_it_ends_with_the_key_whose_rights_it_has(alice):
    client = sign_in(alice)
    end = timezone.now() + timedelta(seconds=90)
    ApiKey.objects.filter(user=alice.user).update(expires_at=end)
    open_key(client)
    assert list_session_rows()[0].expires_at == end
    ApiKey.objects.filter(user=alice.user).exclude_session_keys().revoke()
    assert list_session_rows()[0].revoked_at is not None
    assert client.post(ADDRESS).status_code == 403


def test_an_operator_who_deletes_the_session_ends_the_key(alice):
    open_key(sign_in(alice))
    Session.objects.all().delete()
    assert not ApiKey.objects.filter(prefix__startswith=SESSION_KEY_PREFIX).filter_valid().exists()


def test_the_end_of_an_old_session_does_not_end_a_later_ones_key(alice):
    old, new = sign_in(alice), sign_in(alice)
    open_key(old)
    ApiKey.objects.filter(prefix__startswith=SESSION_KEY_PREFIX).update(expires_at=timezone.now())
    open_key(new)
    (row,) = list_session_rows()
    old.logout()
    row.refresh_from_db()
    assert row.revoked_at is None


def test_two_sessions_at_the_same_time_have_a_key_each(alice):
    first, second = open_key(sign_in(alice)), open_key(sign_in(alice))
    assert first != second
    assert len(list_session_rows()) == 2


@pytest.mark.settings(PLAYGROUND_MOST_KEYS=2)
def test_more_sessions_get_no_more_keys_and_take_over_the_one_that_ends_first(alice):
    clients = [sign_in(alice) for _ in range(4)]
    texts = [open_key(client) for client in clients]
    rows = list_session_rows()
    assert {row.digest for row in rows} == {keys.digest_key(text) for text in texts[2:]}
    again = open_key(clients[0])  # it works there again, and ends elsewhere
    assert len(list_session_rows()) == 2
    assert ApiKey.objects.filter(digest=keys.digest_key(again)).exists()
    assert not ApiKey.objects.filter(digest=keys.digest_key(texts[2])).exists()


@pytest.mark.settings(PLAYGROUND_KEY_SECONDS=600)
def test_a_key_lives_longer_when_it_is_used_and_never_longer_than_its_session(alice):
    client = sign_in(alice)
    text = open_key(client)
    (row,) = list_session_rows()
    assert timedelta(0) < row.expires_at - timezone.now() <= timedelta(seconds=600)
    ApiKey.objects.filter(pk=row.pk).update(expires_at=timezone.now() + timedelta(seconds=5))
    assert open_key(client) == text
    row.refresh_from_db()
    assert row.expires_at - timezone.now() > timedelta(seconds=500)


def test_a_session_that_ends_soon_has_a_key_that_ends_then(alice, settings):
    settings.SESSION_COOKIE_AGE = 90
    open_key(sign_in(alice))
    (row,) = list_session_rows()
    assert row.expires_at - timezone.now() <= timedelta(seconds=90)


def test_the_key_has_the_models_and_the_limits_of_the_newest_own_key(alice):
    rows.create_person("alice", models=["echo"])
    newest = ApiKey.objects.filter(user=alice.user).first()
    ApiKey.objects.filter(pk=newest.pk).update(stores_content=False)
    limit_rows.update_limits(
        {"key": newest, "for_each_end_user": False}, {"requests_per_minute": 7}
    )
    open_key(sign_in(alice))
    (row,) = list_session_rows()
    assert (row.allowed_models, row.stores_content) == (["echo"], False)
    limits = LimitSet.objects.get(key=row)
    assert (limits.requests_per_minute, limits.allowed_endpoints) == (7, ["/v1/*"])


def test_another_own_key_can_be_chosen_and_nobody_elses(alice, mallory):
    rows.create_person("alice", models=["echo"])
    client = sign_in(alice)
    first = open_key(client)
    assert open_key(client, source=alice.row.pk) == first
    (row,) = list_session_rows()
    assert row.allowed_models == []
    assert client.post(ADDRESS, {"source": mallory.row.pk}).status_code == 403
    assert client.post(ADDRESS, {"source": row.pk}).status_code == 403


def test_who_may_issue_keys_has_the_rights_of_the_user(operator):
    ApiKey.objects.filter(pk=operator.row.pk).update(allowed_models=["echo"])
    open_key(sign_in(operator))
    (row,) = list_session_rows()
    assert row.allowed_models == []


def test_without_a_valid_key_and_without_the_right_to_issue_one_there_is_none(alice):
    client = sign_in(alice)
    open_key(client)
    ApiKey.objects.filter(pk=alice.row.pk).revoke()
    assert client.post(ADDRESS).status_code == 403
    page = client.get("/playground/")
    assert page.status_code == 403
    assert b"no valid API key" in page.content
    alice.user.user_permissions.add(Permission.objects.get(codename="add_apikey"))
    open_key(client)


def test_the_key_needs_a_csrf_token_and_a_login(alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice.user)
    assert client.post(ADDRESS).status_code == 403
    assert not list_session_rows()
    assert Client().post(ADDRESS).status_code == 403
    assert client.get(ADDRESS).status_code == 405


def test_session_keys_are_left_out_of_the_keys_that_people_have_made(alice):
    open_key(sign_in(alice))
    assert list(ApiKey.objects.exclude_session_keys()) == [alice.row]


def test_only_staff_that_may_read_records_have_links_to_them(alice, operator):
    page = sign_in(alice).get("/playground/").content.decode()
    assert 'data-record-url=""' in page
    page = sign_in(operator).get("/playground/").content.decode()
    assert 'data-record-url="/admin/api/usagerecord/00000000-' in page
    answer = Client().get("/playground/?model=m")
    assert answer.status_code == 302
    assert "next=/playground/%3Fmodel%3Dm" in answer["location"]


@pytest.mark.settings(PLAYGROUND=False)
def test_a_playground_that_is_switched_off_is_not_found(alice):
    client = sign_in(alice)
    assert client.get("/playground/").status_code == 404
    assert client.post(ADDRESS).status_code == 404


@pytest.mark.parametrize(("portal", "page"), [(True, "/portal/login/"), (False, "/admin/login/")])
def test_a_visitor_is_led_to_a_login_page_that_is_there(alice, settings, portal, page):
    settings.PORTAL = portal
    answer = Client().get("/playground/", follow=True)
    assert answer.redirect_chain[-1][0].startswith(page)
    assert answer.status_code == 200
