"""Whatever happens in which order, the roll-ups equal the sums of all records that ever were."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.accounting.recovery import Recovery, RowWriter
from api.accounting.spool import Spool
from api.accounting.writers import Writer, make_writer
from api.models import Team, UsageRecord
from api.tests.accounting.written_rows import committed, make_row, postgres_only, write_rows
from api.tests.usage.rollup_rows import check_rollups
from api.usage.folding import fold_all_records
from providers.database.database_threads import run_in_thread

pytestmark = committed
BEGIN = datetime(2026, 11, 21, 22, tzinfo=UTC)
STATUSES = ("complete", "error", "truncated", "interrupted", "refused", "abandoned")


def make_random_row(chance: random.Random, number: int, teams: list[int | None]) -> list[Any]:
    status = chance.choice(STATUSES)
    cost = None if status == "refused" else chance.choice((None, 0, 1, 17, 2_500_000))
    return make_row(
        number,
        started_at=(BEGIN + timedelta(seconds=chance.randrange(4 * 3600))).isoformat(),
        key_id=chance.choice((None, 1, 2, 3)),
        user_id=chance.choice((None, 1, 2)),
        team_id=chance.choice(teams),
        model=chance.choice(("m", "ä'\\", "")),
        provider_id=chance.choice((None, 5)),
        token_id=chance.choice((None, f"{7:032x}")),
        status=status,
        cost_micro_usd=cost,
        request_count=chance.randrange(1, 9),
        http_status=chance.choice((None, 200, 400, 499, 500, 502)),
        error_code=chance.choice(("", "internal_error", "upstream_failed", "invalid_json", "odd")),
        first_byte_ms=chance.choice((None, 0.0, 1.2, 250.5, 9e9)),
        total_ms=chance.choice((None, 0.99, 1.0, 1.728, 61_000.25)),
    )


class Story:
    """A ledger's life at random; the records that were deleted are remembered."""

    def __init__(self, seed: int, spool: Spool, teams: list[int | None]) -> None:
        self.chance = random.Random(seed)
        self.spool = spool
        self.teams = teams
        self.rows: list[list[Any]] = []
        self.deleted: list[UsageRecord] = []

    def make_rows(self, count: int) -> list[list[Any]]:
        """Return new rows, with some that were made before among them."""
        rows = [
            make_random_row(self.chance, len(self.rows) + number, self.teams)
            for number in range(1, count + 1)
        ]
        self.rows += rows
        again = self.chance.sample(self.rows, k=min(len(self.rows), self.chance.randrange(3)))
        return [*rows, *(row for row in again if not self.is_deleted(row))]

    def is_deleted(self, row: list[Any]) -> bool:
        return any(record.pk.hex == row[0] for record in self.deleted)

    async def write_batch(self, writer: Writer) -> None:
        await write_rows(writer, *self.make_rows(self.chance.randrange(1, 12)))

    async def replay_spool(self, writer: Writer) -> None:
        self.spool.append_rows(self.make_rows(self.chance.randrange(1, 12)))
        recovery = Recovery(RowWriter(writer, self.spool), self.spool, self.spool.directory)
        await recovery.replay_spools()

    async def change_costs(self, writer: Writer) -> None:
        def change() -> None:
            ids = list(UsageRecord.objects.exclude(status="refused").values_list("pk", flat=True))
            chosen = self.chance.sample(ids, k=min(len(ids), 4))
            cost = self.chance.choice((None, 0, 3, 999_999_999))
            UsageRecord.objects.filter(pk__in=chosen).update(cost_micro_usd=cost)

        await run_in_thread(change)

    async def delete_oldest(self, writer: Writer) -> None:
        def delete() -> None:
            fold_all_records()
            ids = UsageRecord.objects.order_by("id").values_list("pk", flat=True)[:5]
            records = UsageRecord.objects.filter(pk__in=list(ids))
            self.deleted += list(records)
            records.delete()

        await run_in_thread(delete)

    async def pause(self, writer: Writer) -> None:
        await asyncio.sleep(self.chance.choice((0, 0.06)))

    async def play(self, steps: int) -> None:
        """Do `steps` things at random; the writer is closed and made anew now and then."""
        writer = make_writer()
        deeds = (
            self.write_batch,
            self.write_batch,
            self.replay_spool,
            self.change_costs,
            self.delete_oldest,
            self.pause,
        )
        for _ in range(steps):
            await self.chance.choice(deeds)(writer)
            if self.chance.random() < 0.1:
                await writer.close()
                writer = make_writer()
        await writer.close()


def create_teams() -> list[int | None]:
    top = Team.objects.create(name="top")
    low = Team.objects.create(name="low", parent=top)
    return [None, top.pk, low.pk]


@pytest.mark.parametrize("seed", range(6))
async def test_the_sums_are_those_of_all_records(tmp_path: Path, seed: int) -> None:
    teams = await run_in_thread(create_teams)
    story = Story(seed, Spool(tmp_path / "spool", 1_000_000), teams)
    await story.play(60)

    def check() -> None:
        fold_all_records()
        check_rollups([*story.deleted, *UsageRecord.objects.all()])

    await run_in_thread(check)


@postgres_only
async def test_writers_beside_each_other_never_wait_in_a_circle(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Eight connections write the same hours in any order, also rows that exist already."""
    chance = random.Random(1)
    teams = await run_in_thread(create_teams)
    rows = [make_random_row(chance, number, teams) for number in range(1, 1_201)]

    async def write_shuffled(seed: int) -> None:
        writer = make_writer()
        own = rows[:]
        random.Random(seed).shuffle(own)
        for start in range(0, len(own), 60):
            async with asyncio.timeout(30):
                await writer.write_rows(own[start : start + 60])
        await writer.close()

    await asyncio.gather(*(write_shuffled(seed) for seed in range(8)))
    await run_in_thread(check_rollups)
    assert await run_in_thread(UsageRecord.objects.count) == 1_200
