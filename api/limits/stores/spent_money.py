"""The money that subjects have spent, from the sums of the usage records."""

from datetime import UTC, datetime, timedelta

from django.db.models import Sum
from django.utils import timezone

from api.limits.stores.limit_store import Counter
from api.models import Spend
from api.usage.folding import fold_all_records
from providers.database.database_threads import QUICK, await_in_time

SPEND_SLOT_SECONDS = 900
ALL_TIME_SLOT = datetime(1970, 1, 1, tzinfo=UTC)  # of the row with all that a subject spent


async def load_spent(counter: Counter) -> int:
    """Return the money that a subject spent in the period of a counter, in millionths of a USD.

    Adds the latest records to the sums first. Raises DatabaseUnavailable.
    """
    return await await_in_time(QUICK.run_work(read_spent, counter))


def read_spent(counter: Counter) -> int:
    """Add the latest records to the sums, and return the money; runs in a database thread."""
    fold_all_records()
    return sum_spent(counter)


def sum_spent(counter: Counter) -> int:
    """Return the money that the sums have; the latest seconds may be missing. Writes nothing."""
    rows = Spend.objects.filter(subject_kind=counter.kind, subject_id=counter.subject_id)
    if counter.rolling_seconds:
        seconds = counter.rolling_seconds + SPEND_SLOT_SECONDS  # the first slot counts whole
        rows = rows.filter(slot__gt=timezone.now() - timedelta(seconds=seconds))
    elif counter.period_start:
        rows = rows.filter(slot__gte=datetime.fromtimestamp(counter.period_start, UTC))
    else:
        rows = rows.filter(slot=ALL_TIME_SLOT)
    spent: int = rows.aggregate(sum=Sum("micro_usd"))["sum"] or 0
    return spent
