"""The charts of the overview."""

from collections.abc import Callable

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from api.usage.error_origins import Origin
from api.usage.spans.slot_rollups import FIRST_BYTE, TOTAL
from api.usage.spans.span_sums import SpanSums
from providers.admin.charts import Series, render_bar_chart, render_line_chart
from proxysite.desk.overview.figures import MEDIAN, TAIL, Figures
from proxysite.desk.overview.quantities import MICRO_USD, format_duration


def render_charts(figures: Figures) -> list[tuple[str, SafeString]]:
    """Return the charts of a period with their titles."""
    return [
        (_("Requests"), render_request_chart(figures)),
        (pgettext("counted", "Tokens"), render_token_chart(figures)),
        (_("Spend"), render_spend_chart(figures)),
        (_("Answer times"), render_time_chart(figures)),
    ]


def make_series(
    figures: Figures, name: str, number: int, get_value: Callable[[SpanSums], float]
) -> Series:
    """Return one series of a chart: a value of each point."""
    return Series(name, [get_value(point) for point in figures.points], number)


def render_request_chart(figures: Figures) -> SafeString:
    series = [
        make_series(
            figures, _("without an error"), 1, lambda point: point.requests - point.error_count
        ),
        make_series(figures, _("errors of this gateway"), 2, count_errors(Origin.OURS)),
        make_series(figures, _("of upstreams"), 4, count_errors(Origin.UPSTREAM)),
        make_series(figures, _("of callers"), 6, count_errors(Origin.CALLER)),
    ]
    title = _("Requests and errors by the time they began")
    return render_bar_chart(figures.period.labels, series, title=title)


def count_errors(origin: Origin) -> Callable[[SpanSums], float]:
    return lambda point: point.errors.get(origin, 0)


def render_token_chart(figures: Figures) -> SafeString:
    series = [
        make_series(figures, _("prompt"), 1, lambda point: point.prompt_tokens),
        make_series(figures, _("completion"), 3, lambda point: point.completion_tokens),
    ]
    return render_bar_chart(figures.period.labels, series, title=_("Prompt and completion tokens"))


def render_spend_chart(figures: Figures) -> SafeString:
    series = [
        make_series(figures, _("USD"), 5, lambda point: point.cost_micro_usd / float(MICRO_USD))
    ]
    title = _("Spend in USD, without requests of unknown cost")
    return render_bar_chart(figures.period.labels, series, title=title, format_value=format_usd)


def format_usd(value: float) -> str:
    return f"${value:,.2f}" if value >= 1 or not value else f"${value:.2g}"


def render_time_chart(figures: Figures) -> SafeString:
    choices = (
        (_("first byte, median"), 1, FIRST_BYTE, MEDIAN),
        (_("first byte, 95 %"), 4, FIRST_BYTE, TAIL),
        (_("total, median"), 3, TOTAL, MEDIAN),
        (_("total, 95 %"), 2, TOTAL, TAIL),
    )
    series = [
        Series(
            name,
            [times.compute_percentile(measure, share) for times in figures.point_times],
            number,
        )
        for name, number, measure, share in choices
    ]
    title = _("Time until the first byte and until the end, of answered requests")
    return render_line_chart(
        figures.period.labels, series, title=title, format_value=format_duration
    )
