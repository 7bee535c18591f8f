"""The admin of API keys, which are shown once, and of usage records, which are read only."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from api import authentication, keys
from api.models import ApiKey, Status, UsageRecord
from providers.models import ChatModel, ModelAlias, Provider
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db

KEYS, USAGE = "/admin/api/apikey/", "/admin/api/usagerecord/"
MARKUP = "<script>alert(1)</script>"


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def provider() -> Provider:
    row = Provider.objects.create(name="echo", kind="echo", needs_token=False)
    ChatModel.objects.create(public_id="echo", provider=row, upstream_name="echo")
    ModelAlias.objects.create(alias="gpt-4o", public_id="echo")
    return row


@pytest.fixture
def row(alice: User) -> ApiKey:
    return keys.create_key(alice, name="laptop")[0]


def change(row: Any, view: str = "change") -> str:
    return reverse(f"admin:api_{row._meta.model_name}_{view}", args=[row.pk])


def form(**values: Any) -> dict[str, Any]:
    return {"name": "", "expires_at_0": "", "expires_at_1": ""} | values


def record(**fields: Any) -> UsageRecord:
    given = {
        "started_at": timezone.now(),
        "endpoint": "chat/completions",
        "model": "echo",
        "stream": False,
    }
    return UsageRecord.objects.create(
        **given | {"status": Status.COMPLETE, "http_status": 200} | fields
    )


def listed(client: Client, address: str, **query: Any) -> list[Any]:
    return list(client.get(address, query).context["cl"].result_list)


# --- keys -----------------------------------------------------------------------------------------
def test_a_key_is_shown_once_and_works(
    admin_client: Client, alice: User, provider: Provider
) -> None:
    answer = admin_client.post(
        f"{KEYS}add/", form(user=alice.pk, name="laptop", allowed_models=["echo", "gpt-4o"])
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
    pages = (KEYS, change(row), change(row, "history"), change(row, "delete"), "/admin/")
    kept += [admin_client.get(address).content.decode() for address in pages]
    assert row.prefix in "".join(kept)
    assert key not in "".join(kept)
    assert key[keys.SHOWN_LENGTH :] not in "".join(kept)
    assert row.digest not in "".join(kept)


@pytest.mark.parametrize("button", ["_save", "_continue", "_addanother"])
def test_whatever_button_is_used_the_key_is_shown_and_no_message_left(
    admin_client: Client, alice: User, button: str
) -> None:
    answer = admin_client.post(f"{KEYS}add/", form(user=alice.pk) | {button: "1"})
    assert b"issued-key" in answer.content
    assert "messages" not in answer.cookies
    assert b"messagelist" not in admin_client.get(KEYS).content


def test_a_key_for_nobody_or_for_a_model_that_is_not_there_is_refused(
    admin_client: Client, alice: User
) -> None:
    assert "required" in admin_client.post(f"{KEYS}add/", form()).content.decode()
    answer = admin_client.post(f"{KEYS}add/", form(user=alice.pk, allowed_models=["nothing"]))
    assert "Select a valid choice" in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_only_name_models_and_expiry_can_be_changed(
    admin_client: Client, row: ApiKey, admin_user: User
) -> None:
    posted = form(name="desk", expires_at_0="2031-02-03", expires_at_1="04:05:06")
    forged = {
        "user": admin_user.pk,
        "prefix": "x",
        "digest": "x",
        "key": "x",
        "revoked_at_0": "2020-01-01",
    }
    assert admin_client.post(change(row), posted | forged).status_code == 302
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
        admin_client.post(change(row), form(name="desk"))
    (update,) = [query["sql"] for query in queries if 'UPDATE "api_apikey"' in query["sql"]]
    assert "revoked_at" not in update
    assert "last_used_at" not in update


def test_a_model_that_went_stays_allowed_until_somebody_unticks_it(
    admin_client: Client, alice: User
) -> None:
    row, _ = keys.create_key(alice, models=["gone"])
    assert re.search(r'value="gone"[^>]*checked', admin_client.get(change(row)).content.decode())
    admin_client.post(change(row), form(name="desk", allowed_models=["gone"]))
    assert ApiKey.objects.get().allowed_models == ["gone"]


def test_keys_are_revoked_by_an_action_that_is_noted(
    admin_client: Client, row: ApiKey, alice: User
) -> None:
    keys.create_key(alice)
    posted = {"action": "revoke", "_selected_action": [row.pk], "index": 0}
    answer = admin_client.post(KEYS, posted, follow=True)
    assert "1 API key revoked." in answer.content.decode()
    assert authentication.load_caller(row.digest) is None
    assert ApiKey.objects.valid().count() == 1
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
    assert client.get(change(row)).status_code == 200
    assert client.get(f"{KEYS}add/").status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert strict.post(KEYS, posted).status_code == 403
    assert strict.post(f"{KEYS}add/", form(user=admin_user.pk)).status_code == 403
    assert ApiKey.objects.get().revoked_at is None


def test_the_list_says_how_keys_stand_and_filters_by_it(admin_client: Client, alice: User) -> None:
    before = timezone.now() - timedelta(hours=1)
    bob = User.objects.create_user("bob", is_active=False)
    names = {
        "valid": {},
        "expired": {"expires_at": before},
        "revoked": {"revoked_at": before},
        "user inactive": {},
    }
    for name, fields in names.items():
        row, _ = keys.create_key(bob if "user" in name else alice, name=name)
        ApiKey.objects.filter(pk=row.pk).update(**fields)
    html = admin_client.get(KEYS).content.decode()
    for name in names:
        assert re.search(rf'class="badge badge-\w+">{name}<', html)
    for name in ("valid", "expired", "revoked"):
        assert [row.name for row in listed(admin_client, KEYS, **{"is": name})] == [name]


def test_keys_are_found_by_their_beginning_and_by_user_name(
    admin_client: Client, alice: User
) -> None:
    row, key = keys.create_key(alice)
    keys.create_key(User.objects.create_user("mallory"))
    for term in (key, row.prefix, f"{row.prefix}…", key[:9], "alice"):
        assert listed(admin_client, KEYS, q=term) == [row]
    for term in ("ali", "%", "_", "sk-ps-nothing"):
        assert listed(admin_client, KEYS, q=term) == []


# --- usage ----------------------------------------------------------------------------------------
def test_a_record_tells_its_story(admin_client: Client, row: ApiKey, provider: Provider) -> None:
    token = UpstreamToken.from_secret(provider, "sk-0123456789abcdefghij")
    token.save()
    attempts = [
        {
            "provider": "echo",
            "model": "big",
            "token": str(token.pk),
            "outcome": "RateLimited",
            "reason": "slow down",
        }
        | {"status": 429, "connect_ms": 1.25, "first_byte_ms": None, "total_ms": 1234.5},
        {
            "provider": "echo",
            "model": "big",
            "token": str(uuid.uuid4()),
            "outcome": "skipped",
            "reason": "none left",
        },
        {
            "provider": "echo",
            "model": "small",
            "token": None,
            "outcome": "answered",
            "reason": "",
            "status": 200,
        },
    ]
    entry = record(
        key=row, user=row.user, provider=provider, token=token, attempts=attempts, estimated=True
    )
    html = admin_client.get(change(entry)).content.decode()
    for text in (
        str(entry),
        "slow down",
        "429",
        "1,234.5",
        token.masked,
        str(row),
        "RateLimited",
        "none left",
    ):
        assert text in html
    assert f'<a href="{reverse("admin:tokens_upstreamtoken_change", args=[token.pk])}">' in html
    table = html.partition('class="attempts"')[2].partition("</table>")[0]
    assert table.count("<tr>") == 4
    assert "alice" in admin_client.get(USAGE).content.decode()


def test_a_record_without_attempts_or_references_is_shown(admin_client: Client) -> None:
    bare = record(status=Status.INTERRUPTED, error_code="interrupted", http_status=None)
    dangling = record(key_id=4711, user_id=4711, provider_id=4711, token_id=uuid.uuid4())
    assert admin_client.get(USAGE).status_code == 200
    for entry in (bare, dangling):
        assert str(entry) in admin_client.get(change(entry)).content.decode()


def test_records_are_read_only_even_for_superusers(admin_client: Client) -> None:
    entry = record()
    assert admin_client.get(f"{USAGE}add/").status_code == 403
    assert admin_client.post(f"{USAGE}add/", {"model": "x"}).status_code == 403
    assert admin_client.post(change(entry), {"model": "x"}).status_code == 403
    assert admin_client.post(change(entry, "delete"), {"post": "yes"}).status_code == 403
    posted = {"action": "delete_selected", "_selected_action": [str(entry.pk)], "post": "yes"}
    admin_client.post(USAGE, posted)
    assert UsageRecord.objects.get().model == "echo"
    html = admin_client.get(change(entry)).content.decode()
    assert 'name="_save"' not in html
    assert "deletelink" not in html


def test_what_callers_and_upstreams_wrote_is_shown_as_text(
    admin_client: Client, alice: User
) -> None:
    attempt = {
        "provider": MARKUP,
        "model": MARKUP,
        "token": None,
        "outcome": MARKUP,
        "reason": MARKUP,
        "status": 500,
    }
    entry = record(model=MARKUP, error_code=MARKUP, attempts=[attempt])
    row, _ = keys.create_key(alice, name=MARKUP, models=[MARKUP])
    for address in (
        USAGE,
        KEYS,
        change(entry),
        change(row),
        change(row, "delete"),
        change(entry, "history"),
    ):
        answer = admin_client.get(address)
        assert answer.status_code == 200
        assert MARKUP not in answer.content.decode()
    posted = form(user=alice.pk, name=MARKUP)
    assert MARKUP not in admin_client.post(f"{KEYS}add/", posted).content.decode()


def test_a_record_is_found_by_its_request_id_in_every_form(admin_client: Client) -> None:
    entry = record()
    record()
    for term in (
        f"req_{entry.pk.hex}",
        f"chatcmpl-{entry.pk.hex}",
        f"cmpl-{entry.pk.hex}",
        str(entry.pk),
    ):
        assert listed(admin_client, USAGE, q=term) == [entry]
    for term in ("req_", "echo", "%", entry.pk.hex[:20], uuid.uuid4().hex, "'); DROP TABLE"):
        assert listed(admin_client, USAGE, q=term) == []


def test_records_are_filtered(admin_client: Client) -> None:
    good = record(stream=True)
    left = record(status=Status.ABANDONED, endpoint="embeddings")
    assert listed(admin_client, USAGE, status="complete") == [good]
    assert (
        listed(admin_client, USAGE, status="troubled")
        == listed(admin_client, USAGE, status="abandoned")
        == [left]
    )
    assert listed(admin_client, USAGE, status="error") == []
    assert listed(admin_client, USAGE, endpoint="embeddings") == [left]
    assert listed(admin_client, USAGE, stream__exact="1") == [good]


@pytest.mark.parametrize("address", [KEYS, USAGE])
def test_lists_of_many_are_paged_without_counting_them(
    admin_client: Client, alice: User, address: str
) -> None:
    now = timezone.now()
    if address == KEYS:
        rows = [ApiKey(user=alice, prefix=f"sk-ps-{n:010}", digest=f"{n:064}") for n in range(260)]
        ApiKey.objects.bulk_create(rows)
    else:
        common = {
            "started_at": now,
            "endpoint": "embeddings",
            "model": "echo",
            "stream": False,
            "status": "complete",
        }
        UsageRecord.objects.bulk_create([UsageRecord(user=alice, **common) for _ in range(260)])
    for query in ({}, {"p": 4}, {"is": "valid"}, {"all": ""}):
        with CaptureQueriesContext(connection) as queries:
            answer = admin_client.get(address, {} if address == USAGE and "is" in query else query)
        assert len(answer.context["cl"].result_list) == 50
        asked = [query["sql"] for query in queries if 'FROM "api_' in query["sql"]]
        assert not any("COUNT(" in sql for sql in asked)
        assert all("LIMIT" in sql for sql in asked)
        assert len(queries) <= 5
    assert "more than 250" in admin_client.get(address).content.decode()


def test_rare_outcomes_are_found_by_their_index(admin_client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(USAGE, {"status": "error"})
    asked = [query["sql"] for query in queries if 'FROM "api_usagerecord"' in query["sql"]]
    assert all("NOT " in sql and "'complete'" in sql for sql in asked)


# --- a form is used once --------------------------------------------------------------------------
def number_of(client: Client) -> str:
    html = client.get(f"{KEYS}add/").content.decode()
    (number,) = re.findall(r'name="form_number" value="([^"]+)"', html)
    return str(number)


def test_a_form_that_is_sent_again_issues_no_second_key(admin_client: Client, alice: User) -> None:
    posted = form(user=alice.pk, form_number=number_of(admin_client))
    wrong = admin_client.post(f"{KEYS}add/", posted | {"allowed_models": ["nothing"]})
    assert b"Select a valid choice" in wrong.content
    assert b"issued-key" in admin_client.post(f"{KEYS}add/", posted).content, (
        "a corrected form is not a used one"
    )
    again = admin_client.post(f"{KEYS}add/", posted)
    assert b"has issued its key already" in again.content
    assert ApiKey.objects.count() == 1
    assert number_of(admin_client) != posted["form_number"]


def test_two_clicks_at_once_make_one_key(
    admin_client: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = form(user=alice.pk, form_number=number_of(admin_client))
    admin_client.post(f"{KEYS}add/", posted)
    monkeypatch.setattr(
        "api.one_time_forms.is_used", lambda request, number: False
    )  # both looked before either wrote
    answer = admin_client.post(f"{KEYS}add/", posted, follow=True)
    assert "This form was sent twice." in answer.content.decode()
    assert ApiKey.objects.count() == 1


# --- searching ------------------------------------------------------------------------------------
def test_a_key_is_found_by_itself_and_is_in_no_address(admin_client: Client, alice: User) -> None:
    row, key = keys.create_key(alice)
    keys.create_key(alice)
    answer = admin_client.post(f"{KEYS}search/", {"q": f" {key}\n"})
    assert answer.headers["location"] == change(row)
    assert (
        admin_client.post(f"{KEYS}search/", {"q": keys.generate_key()}).headers["location"] == KEYS
    )
    cut = admin_client.post(f"{KEYS}search/", {"q": key[:-1]})
    assert cut.headers["location"] == f"{KEYS}?q={row.prefix}", "no more of it than the list shows"
    answer = admin_client.post(f"{KEYS}search/", {"q": row.prefix, "is": "valid"})
    assert answer.headers["location"] == f"{KEYS}?is=valid&q={row.prefix}"
    assert listed(admin_client, answer.headers["location"]) == [row]
    assert listed(admin_client, KEYS, q=str(row)) == [row]
    assert len(listed(admin_client, KEYS, q="alice")) == 2
    assert admin_client.get(f"{KEYS}search/").status_code == 405
    assert (
        'id="changelist-search" role="search" method="post"'
        in admin_client.get(KEYS).content.decode()
    )


def test_an_address_typed_by_hand_cannot_sort_or_skip_a_big_table(admin_client: Client) -> None:
    for _ in range(3):
        record()
    with CaptureQueriesContext(connection) as queries:
        assert admin_client.get(USAGE, {"o": "1.3"}).status_code == 200
        admin_client.get(USAGE, {"p": "9999999"})
    asked = [query["sql"] for query in queries if 'FROM "api_usagerecord"' in query["sql"]]
    assert asked
    orders = {
        sql.rsplit("ORDER BY ", 1)[1].split(" LIMIT")[0] for sql in asked if "ORDER BY" in sql
    }
    assert orders <= {'"api_usagerecord"."id" DESC', "1 DESC"}
    offsets = [int(found) for sql in asked for found in re.findall(r"OFFSET (\d+)", sql)]
    assert max(offsets, default=0) < 100_000
