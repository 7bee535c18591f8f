"""The keys, users, models and providers with the most requests, each with a link to these."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.cache import cache
from django.utils.translation import gettext as _

from api.usage.spans.stored_tops import read_stored_tops
from api.usage.spans.top_subjects import TopSubject, read_top_subjects
from proxysite.desk.overview.figures import build_request_list_address
from proxysite.desk.overview.quantities import format_money, format_number
from proxysite.desk.overview.ranges import DAYS_OF_RANGES, Period

MOST_SUBJECTS = 8  # of each list
KEPT_SECONDS = {"1h": 5, "24h": 15, "7d": 60, "30d": 300}  # a page may show a list that is so old
LONG_RANGES = ("24h", "7d", "30d")  # whose lists a page fetches after it is shown
# by group: the filter of the list of requests
FILTERS = {
    "key": "key__id__exact",
    "user": "user__id__exact",
    "model": "model",
    "provider": "provider__id__exact",
}


@dataclass(frozen=True, slots=True)
class TopLine:
    """One line of a list: a name that links to the requests, and its sums in words."""

    name: str
    address: str
    requests: str
    tokens: str
    spend: str


@dataclass(frozen=True, slots=True)
class TopList:
    title: str
    lines: list[TopLine]


@dataclass(frozen=True, slots=True)
class TopLists:
    """The lists of a period; `added_up_at` is None where they are as good as new."""

    lists: list[TopList]
    added_up_at: datetime | None = None


def build_top_lists(period: Period, *, may_wait: bool = True) -> TopLists | None:
    """Return the lists of a period.

    They read all keys of the period, which takes long when these are very many; then those are
    shown that a worker added up in the last hours. Unless the person `may_wait`, None is returned
    for a long period that is not in the cache.
    """
    subjects = cache.get(make_cache_key(period))
    if subjects is not None:
        return TopLists(make_lists(subjects, period))
    stored = read_stored_tops(DAYS_OF_RANGES.get(period.choice.name, 0))
    if stored is not None:
        return TopLists(make_lists(stored.subjects, period), stored.end)
    if not may_wait and period.choice.name in LONG_RANGES:
        return None
    return TopLists(make_lists(read_and_keep(period), period))


def make_lists(subjects: dict[str, list[TopSubject]], period: Period) -> list[TopList]:
    """Return a list of lines for each group of subjects."""
    titles = {
        "key": _("Keys"),
        "user": _("Users"),
        "model": _("Models"),
        "provider": _("Providers"),
    }
    return [
        TopList(
            title,
            [make_line(group, subject, period) for subject in subjects[group][:MOST_SUBJECTS]],
        )
        for group, title in titles.items()
    ]


def make_cache_key(period: Period) -> str:
    return f"top-subjects:{period.choice.name}:{period.begin.isoformat()}"


def read_and_keep(period: Period) -> dict[str, list[TopSubject]]:
    """Read the subjects of a period, and keep them in the cache of this process for a while."""
    subjects = read_top_subjects(period.begin, period.end, MOST_SUBJECTS)
    cache.set(make_cache_key(period), subjects, KEPT_SECONDS[period.choice.name])
    return subjects


def make_line(group: str, subject: TopSubject, period: Period) -> TopLine:
    filters: dict[str, Any] = {FILTERS[group]: subject.subject_id}
    return TopLine(
        subject.name,
        build_request_list_address(period, **filters),
        format_number(subject.requests),
        format_number(subject.tokens),
        format_money(subject.cost_micro_usd, subject.unknown_cost_requests),
    )
