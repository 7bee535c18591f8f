"""`check_usage`: compare the roll-ups with the usage records, and repair them."""

from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError

from api.models import RollupState
from api.usage import reconciliation, usage_parameters
from api.usage.folding import fold_all_records
from api.usage.reconciliation import Differences, RepairRunning
from api.usage.rollup_sql import DAYS, HOUR_TOTALS, HOURS, SPEND
from api.usage.spans.slot_rollups import ANSWER_TIMES, SLOTS
from api.usage.usage_parameters import ParameterError
from providers.management.base import GatewayCommand

TABLE_NAMES = {
    HOURS: "hours",
    HOUR_TOTALS: "totals of hours",
    DAYS: "days",
    SLOTS: "five minutes",
    ANSWER_TIMES: "answer times",
    SPEND: "spending",
}


class Command(GatewayCommand):
    help = (
        "Compare the sums of usage with the usage records of whole days in UTC; exit status 1 when "
        "they differ. Requests go on meanwhile."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--from", dest="begin", default="", metavar="DATE", help="default: the first record"
        )
        parser.add_argument(
            "--to", dest="end", default="", metavar="DATE", help="with that day; default: the last"
        )
        parser.add_argument("--repair", action="store_true", help="add what the sums lack")

    def handle(self, *args: Any, begin: str, end: str, repair: bool, **options: Any) -> None:
        span = read_span(begin, end)
        if repair:
            fold_all_records()
            try:
                found = reconciliation.repair_rollups(*span)
            except RepairRunning:
                raise CommandError("Another process repairs the sums now.") from None
            if not begin and not end:
                RollupState.objects.filter(pk=1).update(needs_rebuild=False)
            self.stdout.write(f"Repaired: {describe_differences(found)}.")
        found = reconciliation.compare_rollups(*span)
        if found.count:
            raise CommandError(f"The sums differ from the records: {describe_differences(found)}.")
        self.stdout.write("The sums are those of the records.")


def describe_differences(found: Differences) -> str:
    """Return how many rows of each table differ, in words."""
    return ", ".join(f"{count} rows of {TABLE_NAMES[table]}" for table, count in found.rows.items())


def read_span(begin_text: str, end_text: str) -> tuple[datetime, datetime]:
    """Return the whole days of two dates; the default is all of which there are records.

    Raises CommandError.
    """
    begin, end = reconciliation.find_records_span()
    try:
        if begin_text:
            begin = max(begin, floor_to_day(usage_parameters.parse_moment(begin_text, "--from")))
        if end_text:
            last = floor_to_day(usage_parameters.parse_moment(end_text, "--to"))
            end = min(end, last + timedelta(days=1))
    except ParameterError as error:
        raise CommandError(str(error)) from None
    return begin, end


def floor_to_day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
