"""The sums of the overview are those of the records, in any time zone and on any day."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from api.models import UsageRecord
from api.usage.folding import fold_all_records
from api.usage.spans.span_sums import read_span_sums, total_sums
from proxysite.desk.overview.ranges import CHOICES, build_period

ZONES = ("UTC", "Europe/Vienna", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns")
SPRING = datetime(2026, 3, 29, 14, 3, 20, tzinfo=UTC)  # clocks in Vienna went forward at night
AUTUMN = datetime(2026, 10, 25, 22, 59, tzinfo=UTC)  # and back


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("now", [SPRING, AUTUMN])
def test_points_follow_each_other_without_a_gap(zone: str, now: datetime) -> None:
    with timezone.override(ZoneInfo(zone)):
        for choice in CHOICES:
            period = build_period(choice.name, now)
            assert all(first[1] == second[0] for first, second in pairwise(period.points))
            assert period.begin < now < period.end <= now + timedelta(minutes=5)
            assert len(period.labels) == len(period.points)
            assert period.before[1] <= period.begin + timedelta(minutes=5)
            for begin, _ in period.points:
                assert (begin.minute % 5, begin.second, begin.microsecond) == (0, 0, 0)


def test_a_day_on_which_clocks_change_is_as_long_as_it_is() -> None:
    with timezone.override(ZoneInfo("Europe/Vienna")):
        points = build_period("30d", SPRING + timedelta(days=3)).points
        lengths = {
            timezone.localtime(begin).date().isoformat(): end - begin for begin, end in points
        }
    assert lengths["2026-03-28"] == timedelta(hours=24)
    assert lengths["2026-03-29"] == timedelta(hours=23)


def test_an_unknown_range_is_the_default() -> None:
    assert build_period("'; DROP", SPRING).choice.name == "24h"


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("is_folded", [True, False])
def test_sums_are_those_of_the_records(zone: str, is_folded: bool) -> None:
    chance = random.Random(zone)
    now = AUTUMN
    for _ in range(300):
        UsageRecord.objects.create(
            started_at=now - timedelta(seconds=chance.randrange(31 * 86_400)),
            endpoint="e",
            model="m",
            stream=False,
            status=chance.choice(("complete", "error", "refused")),
            http_status=chance.choice((200, 400, 502)),
            prompt_tokens=chance.randrange(100),
            completion_tokens=chance.randrange(100),
            cost_micro_usd=chance.choice((None, 5)),
            request_count=chance.randrange(1, 4),
        )
    if is_folded:
        fold_all_records()
    with timezone.override(ZoneInfo(zone)):
        for choice in CHOICES:
            period = build_period(choice.name, now)
            sums = read_span_sums([*period.points, period.before])
            expected: Counter[int] = Counter()
            for record in UsageRecord.objects.all():
                for number, (begin, end) in enumerate([*period.points, period.before]):
                    expected[number] += record.request_count * (begin <= record.started_at < end)
            assert [one.requests for one in sums] == [
                expected[number] for number in range(len(sums))
            ]
            records = UsageRecord.objects.filter(
                started_at__gte=period.begin, started_at__lt=period.end
            )
            total = total_sums(sums[:-1])
            assert total.cost_micro_usd == sum(r.cost_micro_usd or 0 for r in records)
            assert total.tokens == sum(r.prompt_tokens + r.completion_tokens for r in records)
            assert total.refused == sum(r.request_count for r in records if r.status == "refused")
            assert total.error_count == sum(r.request_count for r in records if r.status == "error")
