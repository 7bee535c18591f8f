"""The list of requests: what its filters find, its sums, its pages and its export."""

import csv
import io
import json
import re
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from api.admin.requests.filter_form import read_filters
from api.models import ApiKey, Status, UsageRecord
from api.relay.endpoint_names import list_endpoint_names
from api.request_search import record_search
from api.request_search.record_export import render_export
from api.tests.admin.pages import USAGE, create_record, list_requests, page_of
from conversations.models import Conversation, Turn
from providers.models import Provider

pytestmark = pytest.mark.django_db


def read_errors(client: Client, /, **query: Any) -> list[str]:
    answer = client.get(USAGE, query)
    assert answer.status_code == 200
    assert answer.context["rows"] == []
    return list(answer.context["asked"].errors.values())


def read_export(client: Client, /, **query: Any) -> list[dict[str, str]]:
    """Return the lines of the file; the view makes it in another thread, with the same function."""
    answer = client.get(f"{USAGE}export/", query)
    assert answer.status_code == 200
    asked = read_filters(answer.wsgi_request.GET, timezone.now())
    text = "".join(render_export(asked.filters, settings.REQUEST_EXPORT_ROWS))
    return list(csv.DictReader(io.StringIO(text)))


# --- filters --------------------------------------------------------------------------------------
def test_each_filter_finds_its_requests_alone(
    admin_client: Client, row: ApiKey, provider: Provider
) -> None:
    token = uuid4()
    wanted = create_record(
        user=row.user,
        key=row,
        team_id=3,
        provider=provider,
        token_id=token,
        model="big",
        endpoint="responses",
        client="Codex",
        stream=True,
        status=Status.TRUNCATED,
        error_code="upstream_failed",
        http_status=502,
    )
    create_record(cost_micro_usd=5, started_at=timezone.now() - timedelta(days=2))
    for name, value in {
        "user": "alice",
        "user__id__exact": row.user_id,
        "key": row.prefix,
        "key__id__exact": row.pk,
        "team__id__exact": 3,
        "provider": "echo",
        "provider__id__exact": provider.pk,
        "token": str(token),
        "token__id__exact": str(token),
        "model": "big",
        "endpoint": "responses",
        "client": "Codex",
        "stream": "yes",
        "stream__exact": "1",
        "status": "truncated",
        "status__exact": "truncated",
        "origin": "upstream",
        "error_code": "upstream_failed",
        "cost": "unknown",
        "range": "24h",
    }.items():
        assert list_requests(admin_client, **{name: value}) == [wanted], name
    assert list_requests(admin_client, status=["error", "truncated"]) == [wanted]
    assert list_requests(admin_client, status=["failed"], user="alice", stream="no") == []


def test_a_name_that_nobody_has_is_an_error_and_lists_nothing(admin_client: Client) -> None:
    create_record()
    for query in (
        {"user": "nobody"},
        {"key": "sk-ps-unknown"},
        {"status": "splendid"},
        {"range": "9y"},
        {"from": "yesterday"},
        {"from": "2026-02-01", "to": "2026-01-01"},
        {"stream": "maybe"},
        {"origin": "fate"},
        {"user__id__exact": "x"},
        {"unheard_of": "1"},
    ):
        assert len(read_errors(admin_client, **query)) == 1, query
    assert admin_client.get(f"{USAGE}export/", {"user": "nobody"}).status_code == 400


def test_all_endpoints_of_the_gateway_can_be_chosen(admin_client: Client) -> None:
    html = admin_client.get(USAGE).content.decode()
    names = list_endpoint_names()
    assert {"chat/completions", "completions", "embeddings", "responses"} < set(names)
    for name in names:
        assert f'<option value="{name}"' in html


def test_the_time_is_in_the_viewers_zone(admin_client: Client) -> None:
    admin_client.cookies["timezone"] = "Asia/Kathmandu"  # 5 hours and 45 minutes before UTC
    record = create_record(started_at=datetime.fromisoformat("2026-03-01T20:00:00+00:00"))
    assert list_requests(admin_client, **{"from": "2026-03-02T01:40", "to": "2026-03-02"}) == [
        record
    ]
    assert list_requests(admin_client, **{"from": "2026-03-02T01:50"}) == []
    assert list_requests(admin_client, to="2026-03-02T01:40") == []
    address = {"from": "2026-03-01T19:55:00+00:00"}  # as links of the overview have it
    assert list_requests(admin_client, **address) == [record]
    html = admin_client.get(USAGE, address).content.decode()
    assert 'name="from" value="2026-03-02T01:40:00"' in html


def test_the_names_of_the_deleted_are_shown_and_found(admin_client: Client, row: ApiKey) -> None:
    from providers.models import Deletion

    record = create_record(user=row.user, key=row)
    user_id = row.user_id
    Deletion.objects.create(model="auth.user", object_id=str(user_id), name="alice")
    User.objects.filter(pk=user_id).delete()
    html = admin_client.get(USAGE, {"user__id__exact": user_id}).content.decode()
    assert html.count("alice (deleted)") >= 2
    assert f'name="user__id__exact" value="{user_id}"' in html
    assert list_requests(admin_client, user="alice") == [record]


# --- ids ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "form", ["req_{}", "chatcmpl-{}", "cmpl-{}", "resp_{}", "msg_{}", "{}", " REQ_{} ", "cmp_{}_0"]
)
def test_a_request_is_opened_by_every_id_made_of_its_own(admin_client: Client, form: str) -> None:
    entry = create_record()
    answer = admin_client.get(USAGE, {"q": form.format(entry.pk.hex)})
    assert (answer.status_code, answer["location"]) == (302, page_of(entry))
    assert admin_client.get(USAGE, {"q": str(entry.pk)})["location"] == page_of(entry)


def test_an_id_without_a_record_leads_to_its_conversation(
    admin_client: Client, alice: User
) -> None:
    conversation = Conversation.objects.create(user=alice, kind="open")
    turn = Turn.objects.create(
        conversation=conversation, user=alice, number=1, endpoint="chat", status="completed"
    )
    for term in (f"resp_{turn.pk.hex}", conversation.pk):
        html = admin_client.get(USAGE, {"q": term}).content.decode()
        assert f"/admin/conversations/conversation/{conversation.pk}/change/" in html
    for term in ("req_", "echo", "%", uuid4().hex, "'); DROP TABLE"):
        assert "No request has the id" in admin_client.get(USAGE, {"q": term}).content.decode()


# --- sums -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("endpoint", ["", "responses"], ids=["of roll-ups", "of records"])
def test_the_sums_are_those_of_the_filtered_requests(
    admin_client: Client, row: ApiKey, endpoint: str
) -> None:
    now = timezone.now()
    for hours, status, cost in (
        (0, "complete", 1_000_000),
        (1, "complete", None),
        (5, "error", 250_000),
        (30, "abandoned", 125_000),
    ):
        create_record(
            user=row.user,
            endpoint="responses",
            status=status,
            cost_micro_usd=cost,
            prompt_tokens=10,
            completion_tokens=3,
            started_at=now - timedelta(hours=hours, minutes=1),
        )
    create_record(
        user=row.user,
        endpoint="responses",
        status="refused",
        request_count=40,
        cost_micro_usd=0,
        started_at=now - timedelta(hours=5),
    )
    create_record(prompt_tokens=7)
    create_record(user=row.user, started_at=now - timedelta(days=40))
    query = {"user": "alice", "range": "7d"} | ({"endpoint": endpoint} if endpoint else {})
    sums = admin_client.get(USAGE, query).context["sums"]
    assert sums["requests"] == "44"
    assert (sums["failed"], sums["refused"], sums["abandoned"]) == ("1", "40", "1")
    assert (sums["prompt_tokens"], sums["completion_tokens"]) == ("40", "12")
    assert (sums["cost"], sums["unknown_cost_requests"]) == ("1.375000 USD", 1)
    assert not sums["is_partial"]
    html = admin_client.get(USAGE, query).content.decode()
    assert "unknown for 1 request" in html
    recent = admin_client.get(USAGE, query | {"range": "1h"}).context["sums"]
    assert recent["requests"] == "1"


# --- many rows ------------------------------------------------------------------------------------
def test_pages_go_back_and_forth_without_skipping_a_request(admin_client: Client) -> None:
    now = timezone.now()
    records = [create_record(started_at=now - timedelta(minutes=n)) for n in range(120)]
    shown: list[UsageRecord] = []
    address = USAGE
    pages = []
    while True:
        answer = admin_client.get(address)
        pages.append(address)
        shown += [line.record for line in answer.context["rows"]]
        if not answer.context["older"]:
            break
        address = USAGE + answer.context["older"]
    assert shown == records
    assert len(pages) == 3
    back = admin_client.get(USAGE + answer.context["newer"]).context["rows"]
    assert [line.record for line in back] == records[50:100]


def test_a_search_that_no_index_helps_stops_and_says_how_far_it_came(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.REQUEST_SEARCH_SECONDS = 0
    monkeypatch.setattr(record_search, "SCANNED_AT_ONCE", 10)
    monkeypatch.setattr("api.request_search.record_sums.SUMMED_AT_ONCE", 10)
    now = timezone.now()
    for n in range(25):
        create_record(started_at=now - timedelta(hours=n))
    wanted = create_record(client="Codex", started_at=now - timedelta(hours=25))
    answer = admin_client.get(USAGE, {"client": "Codex"})
    assert answer.context["rows"] == []
    assert answer.context["sums"]["is_partial"]
    html = answer.content.decode()
    assert "The requests were looked through back to" in html
    assert "≥ 0" in html
    for _ in range(2):
        answer = admin_client.get(USAGE + answer.context["older"])
    assert [line.record for line in answer.context["rows"]] == [wanted]
    assert read_export(admin_client, client="Codex")[0]["id"] == str(wanted)


def test_hours_in_which_a_model_was_not_asked_are_skipped(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    from api.usage.folding import fold_all_records

    settings.REQUEST_SEARCH_SECONDS = 0
    monkeypatch.setattr(record_search, "SCANNED_AT_ONCE", 10)
    now = timezone.now()
    for n in range(100):
        create_record(started_at=now - timedelta(hours=n))
    wanted = create_record(model="rare", started_at=now - timedelta(hours=100))
    fold_all_records()
    answer = admin_client.get(USAGE, {"model": "rare"})
    answer = admin_client.get(USAGE + answer.context["older"])
    assert [line.record for line in answer.context["rows"]] == [wanted]
    assert not admin_client.get(USAGE, {"model": "never"}).context["older"]


# --- export ---------------------------------------------------------------------------------------
def test_the_export_has_every_column_and_no_formula(
    admin_client: Client, row: ApiKey, settings: Any
) -> None:
    create_record(
        user=row.user,
        key=row,
        model="=HYPERLINK(1)",
        cost_micro_usd=1_500,
        error_code="upstream_failed",
        status="error",
        client="curl",
    )
    create_record(model="other", started_at=timezone.now() + timedelta(seconds=1))
    (line,) = read_export(admin_client, user="alice")
    assert line["model"] == "'=HYPERLINK(1)"
    assert (line["cost_usd"], line["user"], line["key"]) == ("0.001500", "alice", row.prefix)
    assert (line["error_origin"], line["client"], line["stream"]) == ("upstream", "curl", "False")
    columns = {field.attname for field in UsageRecord._meta.concrete_fields}
    costs = {"cost_micro_usd", "reported_cost_micro_usd"}
    assert columns - costs <= set(line)
    settings.REQUEST_EXPORT_ROWS = 1
    lines = read_export(admin_client)
    assert [line["model"] for line in lines[:1]] == ["other"]
    assert lines[1]["id"] == "(only the newest 1 requests are in this file)"


# --- rights ---------------------------------------------------------------------------------------
def test_the_pages_are_for_those_who_may_view_requests(client: Client, row: ApiKey) -> None:
    record = create_record(user=row.user)
    person = User.objects.create_user("viewer", is_staff=True)
    client.force_login(person)
    addresses = (
        USAGE,
        page_of(record),
        f"{USAGE}export/",
        f"{USAGE}suggest/?field=user&q=al",
    )
    for address in addresses:
        assert client.get(address).status_code == 403, address
    person.user_permissions.add(Permission.objects.get(codename="view_usagerecord"))
    for address in addresses:
        assert client.get(address).status_code == 200, address


def test_suggestions_are_the_first_names_that_begin_with_the_text(
    admin_client: Client, row: ApiKey, provider: Provider
) -> None:
    User.objects.bulk_create(User(username=f"al{n:03}") for n in range(50))
    names = admin_client.get(f"{USAGE}suggest/", {"field": "user", "q": "al"}).json()["names"]
    assert names == [f"al{n:03}" for n in range(20)]
    address = f"{USAGE}suggest/"
    assert admin_client.get(address, {"field": "key", "q": "sk"}).json()["names"] == [row.prefix]
    assert admin_client.get(address, {"field": "model", "q": "ec"}).json()["names"] == ["echo"]
    assert admin_client.get(address, {"field": "password", "q": "a"}).json()["names"] == []


def test_the_quick_search_finds_a_request_by_its_id_alone(admin_client: Client) -> None:
    record = create_record()
    create_record()

    def search(term: str) -> list[str]:
        findings = admin_client.post("/admin/search", {"q": term}).json()
        return list(re.findall(r'"(/admin/[^"]*)"', json.dumps(findings)))

    assert page_of(record) in search(f"resp_{record.pk.hex}")
    assert not [address for address in search("alice") if "usagerecord" in address]
