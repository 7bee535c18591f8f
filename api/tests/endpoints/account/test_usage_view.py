"""/v1/usage: sums of one's own requests, or of all for staff."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from api import keys
from api.models import Team
from api.tests.endpoints.account.usage_rows import NOW, ask_usage, create_record
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows
from proxysite.testing.rows import Person
from tokens.models import UpstreamToken

TODAY = NOW.date().isoformat()


async def test_the_last_thirty_days_of_ones_own_key_by_day(gateway, alice, mallory):
    def create():
        create_record(alice)
        create_record(alice, cost_micro_usd=None, request_count=2)
        create_record(alice, started_at=NOW - timedelta(days=29), cost_micro_usd=7)
        create_record(alice, started_at=NOW - timedelta(days=31))
        create_record(mallory)

    await run_in_thread(create)
    answer = await ask_usage(gateway, alice)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json
    old, today = body["data"]
    assert old["day"] < today["day"]
    assert today == {
        "day": (NOW - timedelta(minutes=1)).date().isoformat(),
        "requests": 3,
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "reasoning_tokens": 0,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "cost_usd": "0.001500",
        "cost_micro_usd": 1500,
        "unknown_cost_requests": 2,
    }
    assert body["totals"]["cost_micro_usd"] == 1507
    assert (body["object"], body["group_by"], body["has_more"]) == ("usage", ["day"], False)


async def test_a_request_counts_as_soon_as_it_is_answered(gateway, alice, upstream):
    await gateway.request_chat(alice.key)
    body = (await ask_usage(gateway, alice, group_by="model,status")).json
    assert [(row["model"], row["status"], row["requests"]) for row in body["data"]] == [
        ("m", "complete", 1)
    ]


async def test_scope_user_has_all_keys_of_the_user(gateway, alice):
    def create():
        row, key = keys.create_key(alice.user, name="second")
        create_record(alice)
        create_record(Person(alice.user, key, row), cost_micro_usd=2)
        return row

    second = await run_in_thread(create)
    own = (await ask_usage(gateway, alice, scope="key", group_by="key")).json
    assert [row["key_id"] for row in own["data"]] == [alice.row.pk]
    every = (await ask_usage(gateway, alice, scope="user", group_by="key")).json
    assert [(row["key_id"], row["key"]) for row in every["data"]] == [
        (alice.row.pk, alice.row.prefix),
        (second.pk, second.prefix),
    ]
    assert every["totals"]["cost_micro_usd"] == 1502


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"scope": "all"}, "scope"),
        ({"group_by": "token"}, "group_by"),
        ({"group_by": "day,provider"}, "group_by"),
    ],
)
async def test_what_is_for_staff_is_refused_to_others(gateway, alice, params, field):
    answer = await ask_usage(gateway, alice, **params)
    assert answer.status == 403
    assert answer.json["error"]["code"] == "permission_denied"
    assert answer.json["error"]["param"] == field


async def test_a_key_of_staff_for_some_models_only_is_no_staff_key(gateway, operator):
    limited = await run_in_thread(
        lambda: rows.create_person("chief", models=["m"], is_staff=True, is_superuser=True)
    )
    assert (await ask_usage(gateway, limited, scope="all")).status == 403
    assert (await ask_usage(gateway, operator, scope="all")).status == 200


async def test_staff_see_all_with_names(gateway, operator, alice, mallory, provider, token):
    def create():
        team = Team.objects.create(name="Research")
        create_record(alice, team=team, provider=provider, token=token)
        create_record(mallory, cost_micro_usd=1)
        create_record(cost_micro_usd=0)

    await run_in_thread(create)
    params = {"scope": "all", "group_by": "user,group,provider,token"}
    data = (await ask_usage(gateway, operator, **params)).json["data"]
    names = ("user", "team", "provider", "token")
    assert [[row[name] for name in names] for row in data] == [
        ["alice", "Research", "fake", token.masked],
        ["mallory", None, None, None],
        [None, None, None, None],
    ]
    assert data[0]["token_id"] == str(token.pk)
    assert data[2]["user_id"] is None


async def test_deleted_rows_keep_their_sums(gateway, operator, alice, provider, token):
    def create():
        create_record(alice, provider=provider, token=token)
        user_id = alice.user.pk
        alice.user.delete()
        UpstreamToken.objects.all().delete()
        Provider.objects.all().delete()
        return user_id

    user_id = await run_in_thread(create)
    params = {"scope": "all", "group_by": "user,key,provider,token"}
    first = (await ask_usage(gateway, operator, **params)).json["data"][0]
    again = (await ask_usage(gateway, operator, **params)).json["data"][0]
    assert first == again
    assert first["user"].startswith("deleted-user-")
    assert "alice" not in str(first)
    assert (first["user_id"], first["requests"]) == (user_id, 1)
    assert first["provider"] == "deleted provider"


async def test_hours_and_spans(gateway, alice):
    at = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)

    def create():
        for hours in (0, 1, 30):
            create_record(alice, started_at=at + timedelta(hours=hours))

    await run_in_thread(create)

    async def hours_of(**params):
        body = (await ask_usage(gateway, alice, group_by="hour", **params)).json
        return [row["hour"] for row in body["data"]]

    both = {"from": "2026-03-01", "to": "2026-03-01"}
    assert await hours_of(**both) == ["2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"]
    exact = {"from": "2026-03-01T11:00:00Z", "to": "2026-03-02T16:00:00Z"}
    assert await hours_of(**exact) == ["2026-03-01T11:00:00Z"]
    offset = {"from": "2026-03-01T12:00:00+02:00", "to": "2026-03-01T12:59:00+02:00"}
    assert await hours_of(**offset) == ["2026-03-01T10:00:00Z"]
    body = (await ask_usage(gateway, alice, **exact | {"to": "2026-03-03T05:00:00Z"})).json
    assert [(row["day"], row["requests"]) for row in body["data"]] == [
        ("2026-03-01", 1),
        ("2026-03-02", 1),
    ]


async def test_totals_are_of_all_groups_also_beyond_the_limit(gateway, alice):
    def create():
        for number in range(5):
            create_record(alice, model=f"m{number}", cost_micro_usd=number)

    await run_in_thread(create)
    body = (await ask_usage(gateway, alice, group_by="model", limit=2)).json
    assert [row["model"] for row in body["data"]] == ["m4", "m3"]
    assert body["has_more"] is True
    assert body["totals"]["cost_micro_usd"] == 10


async def test_csv_by_format_or_accept_with_cells_that_are_no_formulas(gateway, alice):
    await run_in_thread(create_record, alice, model="=1+2")
    by_format = await ask_usage(gateway, alice, group_by="day,model", format="csv")
    by_header = await gateway.send_request(
        "GET",
        "/v1/usage",
        alice.key,
        params={"group_by": "day,model"},
        headers={"accept": "text/csv"},
    )
    assert by_format.headers["content-type"].startswith("text/csv")
    assert by_format.body.decode() == by_header.body.decode()
    (row,) = csv.DictReader(io.StringIO(by_format.body.decode()))
    assert (row["model"], row["cost_usd"]) == ("'=1+2", "0.001500")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": ""}, "group_by"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"from": "0001-01-01"}, "from"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "from"),
        ({"limit": "0"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"scope": "mine"}, "scope"),
        ({"format": "xml"}, "format"),
    ],
)
async def test_what_cannot_be_understood_is_named(gateway, alice, params, field):
    answer = await ask_usage(gateway, alice, **params)
    assert answer.status == 400
    assert answer.json["error"]["param"] == field


async def test_without_a_key_nothing_is_shown(gateway):
    answer = await gateway.send_request("GET", "/v1/usage", "sk-ps-unknown")
    assert answer.status == 401
