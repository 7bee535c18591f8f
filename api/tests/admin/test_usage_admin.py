"""The admin of usage records, which are read-only, and of tables with many rows."""

import re
import uuid

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from api import keys
from api.models import ApiKey, Status, UsageRecord
from api.tests.admin.pages import KEYS, USAGE, create_record, key_form, list_rows, page_of
from providers.models import Provider
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db

MARKUP = "<script>alert(1)</script>"


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
    entry = create_record(
        key=row,
        user=row.user,
        provider=provider,
        token=token,
        attempts=attempts,
        estimated=True,
        cache_write_tokens=4321,
    )
    html = admin_client.get(page_of(entry)).content.decode()
    for text in (
        str(entry),
        "slow down",
        "429",
        "1,234.5",
        token.masked,
        str(row),
        "RateLimited",
        "none left",
        "4321",
    ):
        assert text in html
    assert f'<a href="{reverse("admin:tokens_upstreamtoken_change", args=[token.pk])}">' in html
    table = html.partition('class="attempts"')[2].partition("</table>")[0]
    assert table.count("<tr>") == 4
    assert "alice" in admin_client.get(USAGE).content.decode()


def test_a_record_without_attempts_or_references_is_shown(admin_client: Client) -> None:
    bare = create_record(status=Status.INTERRUPTED, error_code="interrupted", http_status=None)
    dangling = create_record(key_id=4711, user_id=4711, provider_id=4711, token_id=uuid.uuid4())
    assert admin_client.get(USAGE).status_code == 200
    for entry in (bare, dangling):
        assert str(entry) in admin_client.get(page_of(entry)).content.decode()


def test_records_are_read_only_even_for_superusers(admin_client: Client) -> None:
    entry = create_record()
    assert admin_client.get(f"{USAGE}add/").status_code == 403
    assert admin_client.post(f"{USAGE}add/", {"model": "x"}).status_code == 403
    assert admin_client.post(page_of(entry), {"model": "x"}).status_code == 403
    assert admin_client.post(page_of(entry, "delete"), {"post": "yes"}).status_code == 403
    posted = {"action": "delete_selected", "_selected_action": [str(entry.pk)], "post": "yes"}
    admin_client.post(USAGE, posted)
    assert UsageRecord.objects.get().model == "echo"
    html = admin_client.get(page_of(entry)).content.decode()
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
    entry = create_record(model=MARKUP, error_code=MARKUP, attempts=[attempt])
    row, _ = keys.create_key(alice, name=MARKUP, models=[MARKUP])
    for address in (
        USAGE,
        KEYS,
        page_of(entry),
        page_of(row),
        page_of(row, "delete"),
        page_of(entry, "history"),
    ):
        answer = admin_client.get(address)
        assert answer.status_code == 200
        assert MARKUP not in answer.content.decode()
    posted = key_form(user=alice.pk, name=MARKUP)
    assert MARKUP not in admin_client.post(f"{KEYS}add/", posted).content.decode()


def test_a_record_is_found_by_its_request_id_in_every_form(admin_client: Client) -> None:
    entry = create_record()
    create_record()
    for term in (
        f"req_{entry.pk.hex}",
        f"chatcmpl-{entry.pk.hex}",
        f"cmpl-{entry.pk.hex}",
        str(entry.pk),
    ):
        assert list_rows(admin_client, USAGE, q=term) == [entry]
    for term in ("req_", "echo", "%", entry.pk.hex[:20], uuid.uuid4().hex, "'); DROP TABLE"):
        assert list_rows(admin_client, USAGE, q=term) == []


def test_records_are_filtered(admin_client: Client) -> None:
    good = create_record(stream=True)
    left = create_record(status=Status.ABANDONED, endpoint="embeddings")
    assert list_rows(admin_client, USAGE, status="complete") == [good]
    assert (
        list_rows(admin_client, USAGE, status="troubled")
        == list_rows(admin_client, USAGE, status="abandoned")
        == [left]
    )
    assert list_rows(admin_client, USAGE, status="error") == []
    assert list_rows(admin_client, USAGE, endpoint="embeddings") == [left]
    assert list_rows(admin_client, USAGE, stream__exact="1") == [good]


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


def test_an_address_typed_by_hand_cannot_sort_or_skip_a_big_table(admin_client: Client) -> None:
    for _ in range(3):
        create_record()
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


def test_a_row_of_refused_requests_says_how_many_and_by_which_limit(admin_client: Client) -> None:
    create_record(status="refused", request_count=40, refused_by="key requests_per_minute")
    html = admin_client.get(USAGE).content.decode()
    text = " ".join(re.sub(r"<[^>]*>", " ", html).split())
    assert "refused × 40 by key requests_per_minute" in text
