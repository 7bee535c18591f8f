"""Tokens that an upstream read from its prompt cache or wrote to it: figures, rows, older files."""

from typing import Any

import orjson
import pytest
from django.db import connection

from api.accounting.journal import FACT_COUNT, FIRST_ENDED_COUNTS, FIRST_FACT_COUNT, SLOT_BYTES
from api.accounting.usage_rows import facts_from_row, row_from_facts
from api.accounting.usage_table import (
    COLUMNS,
    EARLIER_COLUMN_COUNTS,
    FIRST_COLUMN_COUNT,
    LATER_VALUES,
    TABLE,
)
from api.models import UsageRecord
from api.tests.accounting.ledger_harness import LedgerHarness, row, stored_row
from providers.protocol.usage_meter import TokenUsage, parse_usage

BOTH = {"prompt_tokens": 30, "completion_tokens": 5}
READ_AND_WRITTEN = TokenUsage(30, 5, 0, 20, cache_write=7)
DETAILS = {"cached_tokens": 20, "cache_write_tokens": 7}
ALIBABAS_DETAILS = {"cached_tokens": 20, "cache_creation_input_tokens": 7}


# --- figures --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"prompt_tokens_details": DETAILS}, READ_AND_WRITTEN),
        ({"prompt_tokens_details": ALIBABAS_DETAILS}, READ_AND_WRITTEN),
        (
            {"cache_read_input_tokens": 20, "cache_creation_input_tokens": 7},
            READ_AND_WRITTEN,
        ),
        (
            {"prompt_cache_hit_tokens": 20, "prompt_cache_miss_tokens": 10},
            TokenUsage(30, 5, 0, 20),
        ),
        ({"prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 0}, None),
        ({"prompt_cache_hit_tokens": True, "cache_creation_input_tokens": -1}, None),
        ({"prompt_tokens_details": [], "cache_read_input_tokens": "20"}, None),
    ],
    ids=["OpenRouter", "DashScope", "Anthropic", "DeepSeek", "none", "implausible", "misshapen"],
)
def test_every_services_name_of_its_cache_is_read(
    given: dict[str, Any], expected: TokenUsage | None
) -> None:
    assert parse_usage(BOTH | given) == (expected or TokenUsage(30, 5))


# --- rows of the release before -------------------------------------------------------------------
def test_an_older_process_writes_rows_beside_a_newer_one(transactional_db: None) -> None:
    names = [name for name in COLUMNS[:FIRST_COLUMN_COUNT] if not name.endswith(("_ms", "_id"))]
    values = dict(zip(COLUMNS, row(1), strict=True)) | {"attempts": "[]"}
    places = ", ".join(["%s"] * len(names))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} ({', '.join(names)}) VALUES ({places})",
            [values[name] for name in names],
        )
    record = UsageRecord.objects.get()
    assert (record.prompt_tokens, record.cache_write_tokens) == (1, 0)
    assert (record.cost_micro_usd, record.refused_by, record.request_count) == (None, "", 1)


@pytest.mark.parametrize("column_count", EARLIER_COLUMN_COUNTS)
async def test_a_row_in_a_spool_of_an_earlier_release_is_written(
    harness: LedgerHarness, column_count: int
) -> None:
    old_row = row(1)[:column_count]
    (harness.spool.directory / "0-old.spool").write_bytes(orjson.dumps(old_row) + b"\n")
    await harness.ledger.replay_spools()
    assert list(stored_row(harness).values()) == [
        *old_row,
        *LATER_VALUES[column_count - FIRST_COLUMN_COUNT :],
    ]
    assert not harness.spool.refused_path.exists()


@pytest.mark.parametrize("fact_count", FIRST_ENDED_COUNTS)
async def test_an_ending_in_a_journal_of_an_earlier_release_is_written(
    harness: LedgerHarness, fact_count: int
) -> None:
    new_facts = facts_from_row(row(1))
    old_facts = [*new_facts[:FIRST_FACT_COUNT], *new_facts[FACT_COUNT:]][:fact_count]
    data = orjson.dumps(old_facts)
    (harness.ledger._journal_directory / "0-old.journal").write_bytes(
        (len(data).to_bytes(2, "big") + data).ljust(SLOT_BYTES, b"\0")
    )
    assert await harness.ledger.sweep_journals() == 1
    written = stored_row(harness)
    assert (written["status"], written["prompt_tokens"], written["total_ms"]) == ("complete", 1, 2)
    assert written["cache_write_tokens"] == 0
    assert (written["team_id"], written["cost_micro_usd"]) == (None, None)


def test_the_journal_keeps_team_tokens_and_cost_of_a_finished_request() -> None:
    finished = row(1)
    finished[COLUMNS.index("cached_tokens")] = 20
    finished[COLUMNS.index("cache_write_tokens")] = 7
    kept = dict(zip(COLUMNS, row_from_facts(facts_from_row(finished)), strict=True))
    assert (kept["cached_tokens"], kept["cache_write_tokens"], kept["total_ms"]) == (20, 7, 2.0)
    assert (kept["team_id"], kept["cost_micro_usd"], kept["price_id"]) == (14, 1_500, 15)
