"""An upgrade with records that are older than the roll-ups, and going back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from api import tasks
from api.models import RollupState, UsageHour, UsageHourTotal, UsageRecord
from api.tests.usage.rollup_rows import check_rollups
from api.usage.folding import fold_all_records

# tables are made anew and, on Postgres, an index beside the writers
pytestmark = pytest.mark.timeout(240)
BEFORE = ("api", "0011_usage_status_validated")
BEGIN = datetime(2026, 11, 20, 23, 50, tzinfo=UTC)


@pytest.fixture
def earlier_release(transactional_db: None) -> Any:
    """The models of the release before; in the end the newest tables are there again."""
    executor = MigrationExecutor(connection)
    executor.migrate([BEFORE])
    yield MigrationExecutor(connection).loader.project_state([BEFORE]).apps
    migrate_to_newest()


def migrate_to_newest() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    emit_post_migrate_signal(verbosity=0, interactive=False, db=connection.alias)


def create_records(model: Any, count: int) -> None:
    for number in range(count):
        model.objects.create(
            started_at=BEGIN + timedelta(minutes=number * 7),
            endpoint="e",
            model="m",
            stream=False,
            status="complete",
            key_id=number % 3,
            cost_micro_usd=number,
        )


def test_older_records_are_added_once_and_newer_ones_at_once(earlier_release: Any) -> None:
    create_records(earlier_release.get_model("api", "UsageRecord"), 20)
    migrate_to_newest()
    assert RollupState.objects.get().needs_rebuild
    create_records(UsageRecord, 5)
    fold_all_records()
    assert sum(UsageHour.objects.values_list("requests", flat=True)) == 5
    assert tasks.complete_rollups()
    check_rollups()
    assert not tasks.complete_rollups()
    create_records(UsageRecord, 3)
    fold_all_records()
    check_rollups()


def test_without_older_records_there_is_nothing_to_add(earlier_release: Any) -> None:
    migrate_to_newest()
    assert not RollupState.objects.exists()
    assert not tasks.complete_rollups()


def test_a_rebuild_that_was_interrupted_is_begun_again(
    earlier_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.usage import rollup_comparisons

    create_records(earlier_release.get_model("api", "UsageRecord"), 20)
    migrate_to_newest()
    with monkeypatch.context() as patch:
        patch.setattr(rollup_comparisons, "compare_days_with_hours", fail)
        with pytest.raises(RuntimeError):
            tasks.complete_rollups()
    assert UsageHour.objects.exists()
    assert tasks.complete_rollups()
    check_rollups()


def fail(*values: object) -> None:
    raise RuntimeError("the process ends here")


def test_hours_from_before_their_totals_get_them(transactional_db: None) -> None:
    create_records(UsageRecord, 20)
    fold_all_records()
    MigrationExecutor(connection).migrate([("api", "0016_price_labels")])
    migrate_to_newest()
    assert not UsageHourTotal.objects.exists()
    assert tasks.complete_rollups()
    check_rollups()
