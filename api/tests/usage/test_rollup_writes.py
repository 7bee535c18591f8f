"""Roll-ups are written with the records, whichever way these come."""

import asyncio
from datetime import UTC, datetime, timedelta

from django.db.models import F

from api.accounting.usage_table import COLUMNS
from api.accounting.writers import Writer, make_writer
from api.models import RollupState, Spend, Team, UsageDay, UsageHour, UsageRecord
from api.tests.accounting.written_rows import committed, make_row, sqlite_only, write_rows
from api.tests.usage.rollup_rows import TOTAL, check_rollups, read_spend
from api.usage.folding import fold_all_records
from providers.database.database_threads import run_in_thread

pytestmark = committed
NOBODY = dict.fromkeys(("key_id", "user_id", "team_id", "provider_id", "token_id"))


def fold_and_check() -> None:
    fold_all_records()
    check_rollups()


async def test_a_batch_is_in_hours_days_and_spending(writer: Writer) -> None:
    await write_rows(
        writer,
        make_row(1, started_at="2026-11-21T10:59:59.999999+00:00", cost_micro_usd=7),
        make_row(2, started_at="2026-11-21T11:00:00+00:00", cost_micro_usd=0),
        make_row(3, started_at="2026-11-22T00:14:59.5+00:00", cost_micro_usd=5, model="n"),
        make_row(4, cost_micro_usd=None, request_count=1),
        make_row(5, cost_micro_usd=None, status="refused", request_count=40),
        make_row(6, **NOBODY, cost_micro_usd=11),
    )
    await run_in_thread(fold_and_check)
    spent = await run_in_thread(read_spend)
    assert spent["key", 11, TOTAL] == 12
    assert spent["team", 14, datetime(2026, 11, 22, tzinfo=UTC)] == 5
    unknown = await run_in_thread(
        lambda: dict(UsageDay.objects.values_list("status", "unknown_cost_requests"))
    )
    assert unknown["refused"] == 0


async def test_records_without_costs_write_nothing_into_spend(writer: Writer) -> None:
    rows = [make_row(n, cost_micro_usd=None) for n in range(1, 6)]
    await write_rows(writer, *rows)
    await run_in_thread(fold_and_check)
    assert not await run_in_thread(Spend.objects.exists)


async def test_rows_that_come_twice_count_once(writer: Writer) -> None:
    await write_rows(writer, make_row(1), make_row(2))
    await write_rows(writer, make_row(2), make_row(3), make_row(3), make_row(1))
    await write_rows(writer, make_row(2, cost_micro_usd=1))
    await run_in_thread(fold_and_check)
    assert await run_in_thread(lambda: UsageRecord.objects.count()) == 3


async def test_spending_counts_for_the_team_and_all_above_it(writer: Writer) -> None:
    def create_teams() -> list[int]:
        top = Team.objects.create(name="top")
        middle = Team.objects.create(name="middle", parent=top)
        low = Team.objects.create(name="low", parent=middle)
        return [top.pk, middle.pk, low.pk]

    top, middle, low = await run_in_thread(create_teams)
    await write_rows(
        writer,
        make_row(1, team_id=low, cost_micro_usd=1),
        make_row(2, team_id=middle, cost_micro_usd=10),
        make_row(3, team_id=top, cost_micro_usd=100),
    )
    await run_in_thread(fold_and_check)
    spent = await run_in_thread(read_spend)
    assert [spent["team", team, TOTAL] for team in (top, middle, low)] == [111, 11, 1]


async def test_teams_in_a_circle_count_once(writer: Writer) -> None:
    def create_circle() -> tuple[int, int]:
        first = Team.objects.create(name="first")
        second = Team.objects.create(name="second", parent=first)
        Team.objects.filter(pk=first.pk).update(parent=second)
        return first.pk, second.pk

    first, second = await run_in_thread(create_circle)
    await write_rows(writer, make_row(1, team_id=first, cost_micro_usd=3))
    await run_in_thread(fold_all_records)
    spent = await run_in_thread(read_spend)
    assert (spent["team", first, TOTAL], spent["team", second, TOTAL]) == (3, 3)


async def test_a_changed_cost_changes_the_sums_by_the_difference(writer: Writer) -> None:
    rows = [make_row(n, cost_micro_usd=n) for n in range(1, 5)]
    await write_rows(writer, *rows, make_row(5, cost_micro_usd=None), make_row(6))

    def recost() -> None:
        fold_all_records()
        records = UsageRecord.objects.order_by("id")
        first, second, *_, fifth, last = records
        records.filter(pk__in=[first.pk, second.pk]).update(
            cost_micro_usd=F("cost_micro_usd") * 1_000
        )
        records.filter(pk=fifth.pk).update(cost_micro_usd=50)
        records.filter(pk=last.pk).update(cost_micro_usd=None)
        check_rollups()

    await run_in_thread(recost)


async def test_records_that_are_deleted_stay_in_the_sums(writer: Writer) -> None:
    await write_rows(writer, make_row(1), make_row(2), make_row(3))

    def delete_all() -> list[UsageRecord]:
        fold_all_records()
        records = list(UsageRecord.objects.all())
        UsageRecord.objects.all().delete()
        check_rollups(records)
        return records

    records = await run_in_thread(delete_all)
    await write_rows(writer, make_row(4), make_row(5))

    def check_both() -> None:
        fold_all_records()
        check_rollups(records + list(UsageRecord.objects.all()))

    await run_in_thread(check_both)


@sqlite_only
async def test_the_writer_adds_records_soon_after_the_last_batch(writer: Writer) -> None:
    await write_rows(writer, make_row(1))
    await write_rows(writer, make_row(2))
    count = 2 * make_row()[COLUMNS.index("request_count")]

    def are_added() -> bool:
        return sum(UsageHour.objects.values_list("requests", flat=True)) == count

    async with asyncio.timeout(10):
        while not await run_in_thread(are_added):  # noqa: ASYNC110 - a thread adds them
            await asyncio.sleep(0.01)
    await run_in_thread(check_rollups)


@sqlite_only
async def test_a_writer_that_closes_adds_what_is_left() -> None:
    writer = make_writer()
    for number in range(1, 4):
        await write_rows(writer, make_row(number))
    await writer.close()
    await run_in_thread(check_rollups)


@sqlite_only
async def test_the_next_process_adds_what_a_killed_one_left(writer: Writer) -> None:
    def leave_records() -> None:
        for minutes in range(3):
            UsageRecord.objects.create(
                started_at=datetime(2026, 11, 21, 10, tzinfo=UTC) + timedelta(minutes=minutes),
                endpoint="e",
                model="m",
                stream=False,
                status="complete",
            )

    await run_in_thread(leave_records)
    await write_rows(writer)
    await run_in_thread(check_rollups)


@sqlite_only
async def test_the_mark_survives_new_row_numbers(writer: Writer) -> None:
    """VACUUM and schema changes number the rows anew."""

    def renumber() -> None:
        from django.db import connection

        fold_all_records()
        UsageRecord.objects.filter(pk__lt=UsageRecord.objects.latest("pk").pk).delete()
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")

    await write_rows(writer, *(make_row(n, cost_micro_usd=1) for n in range(1, 10)))
    before = await run_in_thread(lambda: list(UsageRecord.objects.all()))
    await run_in_thread(renumber)
    await write_rows(writer, make_row(20, cost_micro_usd=1))

    def check_all() -> None:
        fold_all_records()
        check_rollups([*before, UsageRecord.objects.latest("pk")])
        assert RollupState.objects.get().folded_record == UsageRecord.objects.latest("pk").pk

    await run_in_thread(check_all)
