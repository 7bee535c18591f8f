"""The page of one request, and the rights to it."""

import re
import uuid

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from api import keys
from api.models import ApiKey, Status, UsageRecord
from api.tests.admin.pages import KEYS, USAGE, create_record, key_form, page_of
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
        "1.23 s",
        token.masked,
        str(row),
        "RateLimited",
        "none left",
        "4,321",
    ):
        assert text in html
    assert f'<a href="{reverse("admin:tokens_upstreamtoken_change", args=[token.pk])}">' in html
    table = html.partition('class="table attempts"')[2].partition("</table>")[0]
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
    ):
        answer = admin_client.get(address)
        assert answer.status_code == 200
        assert MARKUP not in answer.content.decode()
    posted = key_form(user=alice.pk, name=MARKUP)
    assert MARKUP not in admin_client.post(f"{KEYS}add/", posted).content.decode()


def test_keys_are_paged_without_counting_them(admin_client: Client, alice: User) -> None:
    rows = [ApiKey(user=alice, prefix=f"sk-ps-{n:010}", digest=f"{n:064}") for n in range(260)]
    ApiKey.objects.bulk_create(rows)
    for query in ({}, {"p": 4}, {"is": "valid"}, {"all": ""}):
        with CaptureQueriesContext(connection) as queries:
            answer = admin_client.get(KEYS, query)
        assert len(answer.context["cl"].result_list) == 50
        asked = [query["sql"] for query in queries if 'FROM "api_' in query["sql"]]
        assert not any("COUNT(" in sql for sql in asked)
        assert all("LIMIT" in sql for sql in asked)
    assert "more than 250" in admin_client.get(KEYS).content.decode()


def test_a_row_of_refused_requests_says_how_many_and_by_which_limit(admin_client: Client) -> None:
    create_record(status="refused", request_count=40, refused_by="key requests_per_minute")
    html = admin_client.get(USAGE).content.decode()
    text = " ".join(re.sub(r"<[^>]*>", " ", html).split())
    assert "refused by a limit × 40 by key requests_per_minute" in text
