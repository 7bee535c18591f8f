"""The figures of a period: requests, errors by origin, tokens, spend and answer times.

Each stands beside that of the period before. All are read from roll-ups, whose sums are those of
the usage records.
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from api.usage.error_origins import Origin
from api.usage.spans import span_sums, span_times
from api.usage.spans.slot_rollups import FIRST_BYTE, TOTAL
from api.usage.spans.span_sums import SpanSums
from api.usage.spans.span_times import SpanTimes
from proxysite.desk.overview.quantities import (
    describe_change,
    format_duration,
    format_money,
    format_number,
)
from proxysite.desk.overview.ranges import Period

MEDIAN = 0.5
TAIL = 0.95


@dataclass(frozen=True, slots=True)
class Figures:
    """The sums and answer times of a period: of each point, of all, and of the period before."""

    period: Period
    points: list[SpanSums]
    point_times: list[SpanTimes]
    total: SpanSums
    times: SpanTimes
    before: SpanSums
    before_times: SpanTimes


@dataclass(frozen=True, slots=True)
class Stat:
    """One figure of the page; `tone` is good, wait, bad or empty."""

    label: str
    value: str
    change: str
    note: str = ""
    address: str = ""
    tone: str = ""


def read_figures(period: Period) -> Figures:
    """Read all figures of a period; a few statements, however many records there are."""
    *points, before = span_sums.read_span_sums([*period.points, period.before])
    if period.choice.name == "1h":  # hours are too coarse for it
        point_times = span_times.read_latest_times(period.points)
        before_times = span_times.read_span_times([period.before])[0]
    else:
        *point_times, before_times = span_times.read_span_times([*period.points, period.before])
    return Figures(
        period,
        points,
        point_times,
        span_sums.total_sums(points),
        span_times.total_times(point_times),
        before,
        before_times,
    )


def list_stats(figures: Figures) -> list[Stat]:
    """Return the figures in the order of the page."""
    return [
        make_request_stat(figures),
        *(make_error_stat(figures, origin) for origin in Origin),
        make_token_stat(figures),
        make_spend_stat(figures),
        make_time_stat(figures, FIRST_BYTE, _("First byte, median")),
        make_time_stat(figures, TOTAL, _("Total time, median")),
    ]


def make_request_stat(figures: Figures) -> Stat:
    total = figures.total
    note = ""
    if total.refused:
        note = ngettext(
            "%(count)s of them was refused by a limit",
            "%(count)s of them were refused by a limit",
            total.refused,
        ) % {"count": format_number(total.refused)}
    return Stat(
        _("Requests"),
        format_number(total.requests),
        describe_change(total.requests, figures.before.requests),
        note,
        build_request_list_address(figures.period),
    )


ERROR_LABELS = {
    Origin.OURS: lambda: _("Errors of this gateway"),
    Origin.UPSTREAM: lambda: _("Errors of upstreams"),
    Origin.CALLER: lambda: _("Errors of callers"),
}


def make_error_stat(figures: Figures, origin: Origin) -> Stat:
    """Return the failed requests of one origin; errors of callers are no alarm."""
    count = figures.total.errors.get(origin, 0)
    tone = "" if not count or origin == Origin.CALLER else "bad"
    answered = figures.total.requests - figures.total.refused
    note = _("%(share)s of all requests") % {"share": format_share(count, answered)}
    return Stat(
        ERROR_LABELS[origin](),
        format_number(count),
        describe_change(count, figures.before.errors.get(origin, 0)),
        note if count else "",
        build_request_list_address(figures.period, origin=origin.value),
        tone,
    )


def make_token_stat(figures: Figures) -> Stat:
    total = figures.total
    note = _("%(prompt)s in, %(completion)s out") % {
        "prompt": format_number(total.prompt_tokens),
        "completion": format_number(total.completion_tokens),
    }
    change = describe_change(total.tokens, figures.before.tokens)
    return Stat(pgettext("counted", "Tokens"), format_number(total.tokens), change, note)


def make_spend_stat(figures: Figures) -> Stat:
    total = figures.total
    note = ""
    if total.unknown_cost_requests:
        note = ngettext(
            "* without %(count)s request whose price is unknown",
            "* without %(count)s requests whose price is unknown",
            total.unknown_cost_requests,
        ) % {"count": format_number(total.unknown_cost_requests)}
    return Stat(
        _("Spend"),
        format_money(total.cost_micro_usd, total.unknown_cost_requests),
        describe_change(total.cost_micro_usd, figures.before.cost_micro_usd),
        note,
        build_request_list_address(figures.period, cost="unknown") if note else "",
    )


def make_time_stat(figures: Figures, measure: str, label: str) -> Stat:
    median = figures.times.compute_percentile(measure, MEDIAN)
    tail = figures.times.compute_percentile(measure, TAIL)
    note = ""
    if tail is not None:
        note = _("95 %% within %(time)s") % {"time": format_duration(tail)}
    change = describe_change(median, figures.before_times.compute_percentile(measure, MEDIAN))
    return Stat(label, format_duration(median), change, note)


def format_share(part: int, whole: int) -> str:
    """Return a share in percent with two digits, such as `0.25 %`; never more than `100 %`."""
    percent = part / whole * 100 if whole else 0
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def build_request_list_address(period: Period, **filters: object) -> str:
    """Return the address of the list of requests of a period, with these filters.

    The list takes times in the viewer's zone.
    """
    begin = timezone.localtime(period.begin)
    values = {"from": f"{begin:%Y-%m-%dT%H:%M}", **filters}
    return f"{reverse('admin:api_usagerecord_changelist')}?{urlencode(values)}"
