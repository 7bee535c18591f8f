"""The keys, users, models and providers with the most requests, each with a link to these."""

from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.utils.translation import gettext as _

from api.usage.spans.top_subjects import TopSubject, read_top_subjects
from proxysite.desk.overview.figures import build_request_list_address
from proxysite.desk.overview.quantities import format_money, format_number
from proxysite.desk.overview.ranges import Period

MOST_SUBJECTS = 8  # of each list
KEPT_SECONDS = {"1h": 5, "24h": 15, "7d": 60, "30d": 300}  # a page may show a list that is so old
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


def build_top_lists(period: Period) -> list[TopList]:
    """Return the lists of a period."""
    subjects = load_top_subjects(period)
    titles = {
        "key": _("Keys"),
        "user": _("Users"),
        "model": _("Models"),
        "provider": _("Providers"),
    }
    return [
        TopList(title, [make_line(group, subject, period) for subject in subjects[group]])
        for group, title in titles.items()
    ]


def load_top_subjects(period: Period) -> dict[str, list[TopSubject]]:
    """Return the subjects of a period, from the cache of this process where they are fresh."""
    key = f"top-subjects:{period.choice.name}:{period.begin.isoformat()}"
    subjects: dict[str, list[TopSubject]] | None = cache.get(key)
    if subjects is None:
        subjects = read_top_subjects(period.begin, period.end, MOST_SUBJECTS)
        cache.set(key, subjects, KEPT_SECONDS[period.choice.name])
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
