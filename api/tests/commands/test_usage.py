"""The commands about usage: usage, check_usage, expire_usage."""

import csv
import io
import json
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection

from api import tasks
from api.models import RollupState, Spend, UsageDay, UsageHour, UsageRecord
from api.tests.endpoints.account.usage_rows import NOW, create_record
from api.usage import record_expiry
from api.usage.folding import fold_all_records
from providers.tests.command_runner import refused, run
from proxysite.testing.rows import Person

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_usage_is_a_table_with_the_sum_of_all(alice: Person) -> None:
    create_record(alice)
    create_record(cost_micro_usd=None, model="n")
    lines = run("usage", "--by", "model,user").splitlines()
    assert [line.split() for line in lines] == [
        ["MODEL", "USER", "REQUESTS", "PROMPT", "TOKENS", "COMPLETION", "TOKENS", "COST", "USD"],
        ["m", "alice", "1", "10", "5", "0.001500"],
        ["n", "-", "1", "10", "5", "0.000000", "+", "1", "unknown"],
        ["ALL", "-", "2", "20", "10", "0.001500", "+", "1", "unknown"],
    ]


def test_usage_of_one_key_or_user_as_csv_and_json(alice: Person, mallory: Person) -> None:
    create_record(alice)
    create_record(mallory, cost_micro_usd=5)
    text = run("usage", "--by", "key", "--key", alice.row.prefix, "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["key"], row["cost_micro_usd"]) == (alice.row.prefix, "1500")
    report = json.loads(run("usage", "--user", "mallory", "--format", "json"))
    assert report["totals"]["cost_micro_usd"] == 5


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--by", "colour"], "--by is one or several of"),
        (["--from", "soon"], "from is a date or a time"),
        (["--key", "sk-ps-1"], "There is no API key"),
        (["--user", "nobody"], "There is no user"),
        (["--limit", "-1"], "--limit is at least 1"),
    ],
)
def test_a_mistake_is_one_line(options: list[str], text: str) -> None:
    assert text in refused("usage", *options)


def test_check_usage_finds_and_repairs_what_differs(alice: Person) -> None:
    create_record(alice)
    create_record(alice, started_at=NOW - timedelta(days=3))
    fold_all_records()
    assert "The sums are those of the records" in run("check_usage")
    UsageHour.objects.update(requests=7)
    UsageDay.objects.all().delete()
    Spend.objects.filter(subject_kind="user").delete()
    text = refused("check_usage")
    assert "2 rows of hours, 2 rows of totals of hours, 2 rows of days" in text
    assert "Repaired: 2 rows of hours" in run("check_usage", "--repair")
    assert "The sums are those of the records" in run("check_usage")
    day = (NOW - timedelta(days=3)).date().isoformat()
    UsageHour.objects.update(requests=7)
    assert "1 rows of hours" in refused("check_usage", "--from", day, "--to", day)


def test_two_repairs_do_not_run_at_once() -> None:
    create_record()
    RollupState.objects.update_or_create(pk=1)
    RollupState.objects.filter(pk=1).claim_lease("claimed_until", 60)
    assert "Another process" in refused("check_usage", "--repair")


def create_old_record(days: int) -> UsageRecord:
    began = NOW - timedelta(days=days)
    request_id = UUID(int=record_expiry.first_id_at(began).int + 5)
    return create_record(id=request_id, started_at=began)


@pytest.mark.settings(USAGE_DAYS=400)
def test_expire_usage_deletes_old_records_and_keeps_their_sums(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(record_expiry, "RECORDS_AT_ONCE", 2)
    for days in (405, 404, 403, 402, 1):
        create_old_record(days)
    fold_all_records()
    sums = sorted(UsageDay.objects.values_list("slot", "requests"))
    assert "4 usage records would be deleted" in run("expire_usage", "--dry-run")
    assert "4 usage records deleted" in run("expire_usage")
    assert UsageRecord.objects.count() == 1
    assert sorted(UsageDay.objects.values_list("slot", "requests")) == sums
    assert "The sums are those of the records" in run("check_usage")
    create_record()
    fold_all_records()
    assert "The sums are those of the records" in run("check_usage")


@pytest.mark.settings(USAGE_DAYS=400)
def test_expire_usage_waits_for_the_sums_of_older_records() -> None:
    create_old_record(500)
    fold_all_records()
    UsageHour.objects.all().delete()
    RollupState.objects.update_or_create(pk=1, defaults={"needs_rebuild": True})
    RollupState.objects.filter(pk=1).claim_lease("claimed_until", 60)
    assert tasks.expire_usage() == 0
    RollupState.objects.filter(pk=1).release_lease("claimed_until")
    assert tasks.expire_usage() == 1
    assert UsageHour.objects.count() == 1


@pytest.mark.settings(USAGE_DAYS=400)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="Postgres adds records at once")
def test_a_record_that_is_in_no_sum_yet_is_not_deleted() -> None:
    create_old_record(500)
    assert tasks.expire_usage() == 0
    fold_all_records()
    assert tasks.expire_usage() == 1


def test_records_may_be_kept_for_ever(settings: pytest.FixtureRequest) -> None:
    settings.USAGE_DAYS = 0  # type: ignore[attr-defined]
    create_old_record(5_000)
    assert tasks.expire_usage() == 0
    assert "kept for ever" in run("expire_usage")
    assert "is not a number of days" in refused("expire_usage", "--older-than", "soon")
