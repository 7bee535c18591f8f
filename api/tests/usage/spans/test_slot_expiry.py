"""Old slots are deleted, and their days are not compared any more."""

from datetime import UTC, datetime, timedelta

import pytest

from api.models import AnswerTimes, RollupState, UsageRecord, UsageSlot
from api.usage import reconciliation
from api.usage.folding import fold_all_records
from api.usage.spans.slot_expiry import SLOT_DAYS, delete_old_slots

pytestmark = pytest.mark.django_db


def create_record(moment: datetime) -> None:
    UsageRecord.objects.create(
        started_at=moment, endpoint="e", model="m", stream=False, status="complete", total_ms=5
    )


def test_slots_that_no_page_shows_are_deleted_and_not_missed() -> None:
    now = datetime.now(UTC)
    moments = [now - timedelta(days=days) for days in (SLOT_DAYS + 20, SLOT_DAYS + 2, 60, 0)]
    for moment in moments:
        create_record(moment)
    fold_all_records()
    assert (UsageSlot.objects.count(), AnswerTimes.objects.count()) == (4, 4)
    assert delete_old_slots() == 4
    assert (UsageSlot.objects.count(), AnswerTimes.objects.count()) == (2, 2)
    assert delete_old_slots() == 0
    assert UsageRecord.objects.count() == 4
    assert reconciliation.compare_rollups(*reconciliation.find_records_span()).count == 0


def test_slots_that_are_missing_are_found_and_added() -> None:
    create_record(datetime.now(UTC))
    fold_all_records()
    UsageSlot.objects.all().delete()
    AnswerTimes.objects.update(requests=7)
    span = reconciliation.find_records_span()
    assert reconciliation.compare_rollups(*span).count == 2
    reconciliation.repair_rollups(*span)
    assert reconciliation.compare_rollups(*span).count == 0
    assert RollupState.objects.get().claimed_until is None
