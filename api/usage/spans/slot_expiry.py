"""Delete the slots and answer times that no page shows any more."""

from datetime import UTC, datetime, timedelta
from functools import partial

from django.db.models import Min

from api.models.usage_slot import AnswerTimes, UsageSlot
from providers.deletions.deletion_jobs import write_and_pause

SLOT_DAYS = 70  # the longest span of a page is 30 days, compared with the 30 days before
DELETED_SPAN = timedelta(hours=6)  # of the slots that one transaction deletes


def find_slot_cutoff(days: int = SLOT_DAYS) -> datetime:
    """Return the midnight in UTC before which slots are deleted."""
    begin = datetime.now(UTC) - timedelta(days=days)
    return begin.replace(hour=0, minute=0, second=0, microsecond=0)


def find_compared_begin() -> datetime:
    """Return a time from which on no slot has been deleted."""
    return find_slot_cutoff(SLOT_DAYS - 1)


def delete_old_slots() -> int:
    """Delete old slots and answer times, some at once; return how many rows."""
    cutoff = find_slot_cutoff()
    deleted_count = 0
    for model in (UsageSlot, AnswerTimes):
        while count := write_and_pause(partial(delete_oldest_slots, model, cutoff)):
            deleted_count += count
    return deleted_count


def delete_oldest_slots(model: type[UsageSlot] | type[AnswerTimes], cutoff: datetime) -> int:
    """Delete the oldest slots of a table that are older than `cutoff`; return how many rows."""
    oldest = model._base_manager.aggregate(oldest=Min("slot"))["oldest"]
    if oldest is None or oldest >= cutoff:
        return 0
    rows = model._base_manager.filter(slot__lt=min(oldest + DELETED_SPAN, cutoff))
    return rows._raw_delete(rows.db)
