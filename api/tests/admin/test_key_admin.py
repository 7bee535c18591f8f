"""The admin of API keys, which are shown once."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api import authentication, keys
from api.models import ApiKey
from api.tests.admin.pages import KEYS, key_form, list_rows, page_of, read_form_number
from providers.models import Provider

pytestmark = pytest.mark.django_db


def test_a_key_is_shown_once_and_works(
    admin_client: Client, alice: User, provider: Provider
) -> None:
    answer = admin_client.post(
        f"{KEYS}add/", key_form(user=alice.pk, name="laptop", allowed_models=["echo", "gpt-4o"])
    )
    assert answer.status_code == 200
    assert "no-store" in answer.headers["cache-control"]
    (key,) = set(re.findall(r"sk-ps-[0-9A-Za-z]{49}", answer.content.decode()))
    caller = authentication.load_caller(keys.digest_key(key))
    assert caller is not None
    assert (caller.user_id, caller.allowed_models) == (alice.pk, {"echo", "gpt-4o"})

    row = ApiKey.objects.get()
    kept = [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    kept += [str(session.get_decoded()) for session in Session.objects.all()]
    kept += [cookie.value for cookie in admin_client.cookies.values()]
    pages = (KEYS, page_of(row), page_of(row, "history"), page_of(row, "delete"), "/admin/")
    kept += [admin_client.get(address).content.decode() for address in pages]
    assert row.prefix in "".join(kept)
    assert key not in "".join(kept)
    assert key[keys.SHOWN_LENGTH :] not in "".join(kept)
    assert row.digest not in "".join(kept)


@pytest.mark.parametrize("button", ["_save", "_continue", "_addanother"])
def test_whatever_button_is_used_the_key_is_shown_and_no_message_left(
    admin_client: Client, alice: User, button: str
) -> None:
    answer = admin_client.post(f"{KEYS}add/", key_form(user=alice.pk) | {button: "1"})
    assert b"issued-key" in answer.content
    assert "messages" not in answer.cookies
    assert b"messagelist" not in admin_client.get(KEYS).content


def test_a_key_for_nobody_or_for_a_model_that_is_not_there_is_refused(
    admin_client: Client, alice: User
) -> None:
    assert "required" in admin_client.post(f"{KEYS}add/", key_form()).content.decode()
    answer = admin_client.post(f"{KEYS}add/", key_form(user=alice.pk, allowed_models=["nothing"]))
    assert "Select a valid choice" in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_only_name_models_and_expiry_can_be_changed(
    admin_client: Client, row: ApiKey, admin_user: User
) -> None:
    posted = key_form(name="desk", expires_at="2031-02-03 04:05:06")
    forged = {
        "user": admin_user.pk,
        "prefix": "x",
        "digest": "x",
        "key": "x",
        "revoked_at_0": "2020-01-01",
    }
    assert admin_client.post(page_of(row), posted | forged).status_code == 302
    now = ApiKey.objects.get()
    assert (now.name, now.expires_at and now.expires_at.isoformat()) == (
        "desk",
        "2031-02-03T04:05:06+00:00",
    )
    assert (now.user_id, now.prefix, now.digest, now.revoked_at) == (
        row.user_id,
        row.prefix,
        row.digest,
        None,
    )


def test_saving_a_key_does_not_undo_a_revocation_made_meanwhile(
    admin_client: Client, row: ApiKey
) -> None:
    with CaptureQueriesContext(connection) as queries:
        admin_client.post(page_of(row), key_form(name="desk"))
    (update,) = [query["sql"] for query in queries if 'UPDATE "api_apikey"' in query["sql"]]
    assert "revoked_at" not in update
    assert "last_used_at" not in update


def test_a_model_that_went_stays_allowed_until_somebody_unticks_it(
    admin_client: Client, alice: User
) -> None:
    row, _ = keys.create_key(alice, models=["gone"])
    assert re.search(r'value="gone"[^>]*checked', admin_client.get(page_of(row)).content.decode())
    admin_client.post(page_of(row), key_form(name="desk", allowed_models=["gone"]))
    assert ApiKey.objects.get().allowed_models == ["gone"]


def test_keys_are_revoked_by_an_action_that_is_noted(
    admin_client: Client, row: ApiKey, alice: User
) -> None:
    keys.create_key(alice)
    posted = {"action": "revoke", "_selected_action": [row.pk], "index": 0}
    page = admin_client.post(KEYS, posted).content.decode()
    assert str(row) in page
    assert "cannot be undone" in page
    assert authentication.load_caller(row.digest) is not None, "nothing happens before a yes"
    answer = admin_client.post(KEYS, posted | {"confirmed": "yes"}, follow=True)
    assert "1 API key revoked." in answer.content.decode()
    assert authentication.load_caller(row.digest) is None
    assert ApiKey.objects.filter_valid().count() == 1
    assert [entry.change_message for entry in LogEntry.objects.all()] == ["Revoked."]
    assert b"delete_selected" not in answer.content


def test_revoking_needs_the_right_and_the_csrf_token(
    client: Client, row: ApiKey, admin_user: User
) -> None:
    posted = {"action": "revoke", "_selected_action": [row.pk], "index": 0}
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    client.force_login(looker)
    client.post(KEYS, posted)
    assert client.get(page_of(row)).status_code == 200
    assert client.get(f"{KEYS}add/").status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert strict.post(KEYS, posted).status_code == 403
    assert strict.post(f"{KEYS}add/", key_form(user=admin_user.pk)).status_code == 403
    assert ApiKey.objects.get().revoked_at is None


def test_the_list_says_how_keys_stand_and_filters_by_it(admin_client: Client, alice: User) -> None:
    before = timezone.now() - timedelta(hours=1)
    bob = User.objects.create_user("bob", is_active=False)
    names = {
        "valid": {},
        "expired": {"expires_at": before},
        "revoked": {"revoked_at": before},
        "user blocked": {},
    }
    for name, fields in names.items():
        row, _ = keys.create_key(bob if "user" in name else alice, name=name)
        ApiKey.objects.filter(pk=row.pk).update(**fields)
    html = admin_client.get(KEYS).content.decode()
    for name in names:
        assert re.search(rf'class="badge badge-\w+">{name}<', html)
    for name in ("valid", "expired", "revoked"):
        assert [row.name for row in list_rows(admin_client, KEYS, **{"is": name})] == [name]


def test_keys_are_found_by_their_beginning_and_by_user_name(
    admin_client: Client, alice: User
) -> None:
    row, key = keys.create_key(alice)
    keys.create_key(User.objects.create_user("mallory"))
    for term in (key, row.prefix, f"{row.prefix}…", key[:9], "alice"):
        assert list_rows(admin_client, KEYS, q=term) == [row]
    for term in ("ali", "%", "_", "sk-ps-nothing"):
        assert list_rows(admin_client, KEYS, q=term) == []


def test_a_form_that_is_sent_again_issues_no_second_key(admin_client: Client, alice: User) -> None:
    posted = key_form(user=alice.pk, form_number=read_form_number(admin_client))
    wrong = admin_client.post(f"{KEYS}add/", posted | {"allowed_models": ["nothing"]})
    assert b"Select a valid choice" in wrong.content
    assert b"issued-key" in admin_client.post(f"{KEYS}add/", posted).content, (
        "a corrected form is not a used one"
    )
    again = admin_client.post(f"{KEYS}add/", posted)
    assert b"has issued its key already" in again.content
    assert ApiKey.objects.count() == 1
    assert read_form_number(admin_client) != posted["form_number"]


def test_two_clicks_at_once_make_one_key(
    admin_client: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = key_form(user=alice.pk, form_number=read_form_number(admin_client))
    admin_client.post(f"{KEYS}add/", posted)
    monkeypatch.setattr(
        "api.one_time_forms.is_used", lambda request, number: False
    )  # both looked before either wrote
    answer = admin_client.post(f"{KEYS}add/", posted, follow=True)
    assert "This form was sent twice." in answer.content.decode()
    assert ApiKey.objects.count() == 1


def test_a_key_is_found_by_itself_and_is_in_no_address(admin_client: Client, alice: User) -> None:
    row, key = keys.create_key(alice)
    keys.create_key(alice)
    answer = admin_client.post(f"{KEYS}search/", {"q": f" {key}\n"})
    assert answer.headers["location"] == page_of(row)
    assert (
        admin_client.post(f"{KEYS}search/", {"q": keys.generate_key()}).headers["location"] == KEYS
    )
    cut = admin_client.post(f"{KEYS}search/", {"q": key[:-1]})
    assert cut.headers["location"] == f"{KEYS}?q={row.prefix}", "no more of it than the list shows"
    answer = admin_client.post(f"{KEYS}search/", {"q": row.prefix, "is": "valid"})
    assert answer.headers["location"] == f"{KEYS}?is=valid&q={row.prefix}"
    assert list_rows(admin_client, answer.headers["location"]) == [row]
    assert list_rows(admin_client, KEYS, q=str(row)) == [row]
    assert len(list_rows(admin_client, KEYS, q="alice")) == 2
    assert admin_client.get(f"{KEYS}search/").status_code == 405
    assert (
        'id="changelist-search" role="search" method="post"'
        in admin_client.get(KEYS).content.decode()
    )
