"""Issue, rotate and revoke API keys on their pages."""

import re
import subprocess
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from api import authentication, keys
from api.models import ApiKey, LimitSet, Spend
from api.tests.admin.pages import KEYS, key_form, list_rows, page_of, read_form_number
from providers.models import Provider

pytestmark = pytest.mark.django_db
KEY = re.compile(r"sk-ps-[0-9A-Za-z]{49}")


def read_key(html: bytes) -> str:
    (key,) = set(KEY.findall(html.decode()))
    return str(key)


def open_rotation(client: Client, row: ApiKey, **values: str) -> dict[str, str]:
    html = client.get(f"{KEYS}{row.pk}/rotate/").content.decode()
    (number,) = re.findall(r'name="form_number" value="([^"]+)"', html)
    return {"form_number": number, "overlap": "24", **values}


# --- issue ----------------------------------------------------------------------------------------
def test_a_key_can_be_issued_to_a_new_user_with_an_end_in_words(admin_client: Client) -> None:
    posted = key_form(new_user="june", expires_at="in 30 days", model_choice="all")
    answer = admin_client.post(f"{KEYS}add/", posted)
    row = ApiKey.objects.get()
    assert keys.digest_key(read_key(answer.content)) == row.digest
    assert (row.user.username, row.user.has_usable_password()) == ("june", False)
    assert row.expires_at is not None
    assert timedelta(days=29, hours=23) < row.expires_at - timezone.now() < timedelta(days=30)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "A user is required"),
        ({"new_user": "alice"}, "There is a user of this name already"),
        ({"new_user": "no name"}, "Enter a valid username"),
        ({"new_user": "june", "expires_at": "soon"}, "Write for example"),
        ({"new_user": "june", "expires_at": "2020-01-01"}, "passed already"),
        ({"new_user": "june", "model_choice": "chosen"}, "Tick at least one model"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    admin_client: Client, alice: User, fields: dict[str, str], text: str
) -> None:
    html = admin_client.post(f"{KEYS}add/", key_form(**fields)).content.decode()
    assert text in html
    assert all(f'value="{value}"' in html for name, value in fields.items() if name != "choice")
    assert not ApiKey.objects.exists()
    assert not User.objects.filter(username="june").exists()


def test_both_users_are_one_too_many(admin_client: Client, alice: User) -> None:
    posted = key_form(user=alice.pk, new_user="june")
    assert b"not both" in admin_client.post(f"{KEYS}add/", posted).content


def test_a_new_user_needs_the_right_to_add_users(client: Client) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="add_apikey"))
    client.force_login(staff)
    assert b"new_user" not in client.get(f"{KEYS}add/").content
    client.post(f"{KEYS}add/", key_form(new_user="june"))
    assert not User.objects.filter(username="june").exists()


def test_every_model_beats_ticked_ones(
    admin_client: Client, alice: User, provider: Provider
) -> None:
    posted = key_form(user=alice.pk, allowed_models=["echo"], model_choice="all")
    admin_client.post(f"{KEYS}add/", posted)
    assert ApiKey.objects.get().allowed_models == []


def test_the_issued_page_has_texts_that_run_with_a_model_of_the_key(
    admin_client: Client, alice: User, provider: Provider
) -> None:
    posted = key_form(user=alice.pk, allowed_models=["gpt-4o"], model_choice="chosen")
    answer = admin_client.post(f"{KEYS}add/", posted)
    key = read_key(answer.content)
    snippets = {snippet.id: snippet.text for snippet in answer.context["snippets"]}
    assert all(key in text for text in snippets.values())
    assert all("http://testserver/v1" in text for text in snippets.values())
    assert '"model": "gpt-4o"' in snippets["curl"]
    printed = subprocess.run(
        ["/bin/sh", "-c", snippets["curl"].replace("curl ", "printf '%s\\n' ", 1)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"Authorization: Bearer {key}" in printed.stdout.splitlines()
    compile(snippets["python"], "snippet", "exec")
    assert 'data-copy="#issued-key"' in answer.content.decode()


# --- rotate ---------------------------------------------------------------------------------------
def test_a_rotated_key_is_shown_once_and_the_old_secret_works_on(
    admin_client: Client, row: ApiKey
) -> None:
    old_digest = row.digest
    posted = open_rotation(admin_client, row)
    answer = admin_client.post(f"{KEYS}{row.pk}/rotate/", posted)
    assert "no-store" in answer.headers["cache-control"]
    row.refresh_from_db()
    assert row.digest == keys.digest_key(read_key(answer.content))
    old = ApiKey.objects.get(digest=old_digest)
    assert old.expires_at is not None
    assert timedelta(hours=23) < old.expires_at - timezone.now() <= timedelta(hours=24)
    again = admin_client.post(f"{KEYS}{row.pk}/rotate/", posted, follow=True)
    assert b"made its secret already" in again.content
    assert ApiKey.objects.count() == 2


def test_a_leaked_secret_ends_at_once(admin_client: Client, row: ApiKey) -> None:
    old_digest = row.digest
    admin_client.post(f"{KEYS}{row.pk}/rotate/", open_rotation(admin_client, row, overlap="0"))
    assert authentication.load_caller(old_digest) is None


def test_a_revoked_key_gets_no_new_secret(admin_client: Client, row: ApiKey) -> None:
    ApiKey.objects.filter(pk=row.pk).revoke()
    answer = admin_client.get(f"{KEYS}{row.pk}/rotate/", follow=True)
    assert b"This key has ended" in answer.content


# --- revoke ---------------------------------------------------------------------------------------
def test_revoking_asks_first(admin_client: Client, row: ApiKey) -> None:
    assert b"cannot be undone" in admin_client.get(f"{KEYS}{row.pk}/revoke/").content
    assert authentication.load_caller(row.digest) is not None
    admin_client.post(f"{KEYS}{row.pk}/revoke/")
    assert authentication.load_caller(row.digest) is None
    assert f"{KEYS}{row.pk}/revoke/" not in admin_client.get(page_of(row)).content.decode()


@pytest.mark.parametrize("page", ["rotate", "revoke"])
def test_the_pages_need_the_right_to_change_keys(client: Client, row: ApiKey, page: str) -> None:
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    client.force_login(looker)
    assert client.get(f"{KEYS}{row.pk}/{page}/").status_code == 403
    assert client.post(f"{KEYS}{row.pk}/{page}/", {"overlap": "0"}).status_code == 403
    row.refresh_from_db()
    assert row.revoked_at is None


# --- many -----------------------------------------------------------------------------------------
def test_the_end_of_chosen_keys_is_changed_after_a_page_that_asks(
    admin_client: Client, row: ApiKey
) -> None:
    other, _ = keys.create_key(row.user)
    posted = {"action": "set_end", "_selected_action": [row.pk, other.pk], "index": 0}
    assert b"When do these keys end?" in admin_client.post(KEYS, posted).content
    wrong = admin_client.post(KEYS, posted | {"confirmed": "yes", "expires_at": "soon"})
    assert b"Write for example" in wrong.content
    admin_client.post(KEYS, posted | {"confirmed": "yes", "expires_at": "end of year"})
    ends = set(ApiKey.objects.values_list("expires_at", flat=True))
    assert len(ends) == 1
    assert None not in ends


def test_the_list_tells_spending_and_limits_and_finds_idle_keys(
    admin_client: Client, row: ApiKey
) -> None:
    LimitSet.objects.create(key=row, requests_per_minute=7)
    Spend.objects.create(
        subject_kind="key", subject_id=row.pk, slot="1970-01-01T00:00Z", micro_usd=1_250_000
    )
    html = admin_client.get(KEYS).content.decode()
    assert 'field-spent">1.25<' in html
    assert "rpm=7" in html
    assert list_rows(admin_client, KEYS, used="never") == [row]
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(days=40))
    assert list_rows(admin_client, KEYS, used="idle") == [row]
    assert list_rows(admin_client, KEYS, used="month") == []
    ApiKey.objects.update(expires_at=timezone.now() + timedelta(days=3))
    assert list_rows(admin_client, KEYS, **{"is": "ending"}) == [row]


def test_the_page_of_a_key_says_what_is_left_of_its_budgets(
    admin_client: Client, row: ApiKey
) -> None:
    LimitSet.objects.create(key=row, total_budget_usd=5)
    Spend.objects.create(
        subject_kind="key", subject_id=row.pk, slot="1970-01-01T00:00Z", micro_usd=1_250_000
    )
    html = admin_client.get(page_of(row)).content.decode()
    assert '<td class="number">3.75</td>' in html


def test_an_end_that_has_passed_does_not_stop_other_changes(
    admin_client: Client, row: ApiKey
) -> None:
    ApiKey.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(days=1))
    html = admin_client.get(page_of(row)).content.decode()
    (shown,) = re.findall(r'name="expires_at" value="([^"]+)"', html)
    admin_client.post(page_of(row), key_form(name="desk", expires_at=shown))
    assert ApiKey.objects.get().name == "desk"


def test_the_number_of_a_form_is_new_each_time(admin_client: Client) -> None:
    assert read_form_number(admin_client) != read_form_number(admin_client)


# --- whose secrets --------------------------------------------------------------------------------
@pytest.fixture
def operator_client(client: Client) -> Client:
    staff = User.objects.create_user("operator", is_staff=True)
    rights = Permission.objects.filter(codename__in=("add_apikey", "change_apikey", "view_apikey"))
    staff.user_permissions.set(rights)
    client.force_login(staff)
    return client


@pytest.mark.parametrize("flag", ["is_staff", "is_superuser"])
def test_a_key_of_another_member_of_staff_gets_no_new_secret_but_can_be_revoked(
    operator_client: Client, alice: User, row: ApiKey, flag: str
) -> None:
    posted = open_rotation(operator_client, row)
    User.objects.filter(pk=alice.pk).update(**{flag: True})
    digest = row.digest
    assert operator_client.post(f"{KEYS}{row.pk}/rotate/", posted).status_code == 403
    assert b"/rotate/" not in operator_client.get(page_of(row)).content
    row.refresh_from_db()
    assert row.digest == digest
    operator_client.post(f"{KEYS}{row.pk}/revoke/")
    row.refresh_from_db()
    assert row.revoked_at is not None


def test_a_key_for_a_superuser_is_issued_by_superusers_only(
    operator_client: Client, alice: User
) -> None:
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    operator_client.post(f"{KEYS}add/", key_form(user=alice.pk, model_choice="all"))
    assert not ApiKey.objects.exists()
