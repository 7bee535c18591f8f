"""Charts as SVG, drawn here: a strict Content-Security-Policy allows no script of a chart library.

Each chart is an image with a text alternative. Bars and points have their value as a title, which
browsers show under the pointer. Colours are the classes `series-1` to `series-6` of `desk.css`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH = 640  # of the drawing, in its own units; the page scales it
HEIGHT = 180
LEFT = 52  # room for the numbers beside the vertical axis
RIGHT = 8
TOP = 10
BOTTOM = 22  # room for the labels below
GRID_LINES = 3
# where an axis may end, in units of the power of ten below its highest value: thirds are round
WHOLE_STEPS = (3, 6, 9, 12)
ROUND_STEPS = (1.2, 1.5, 1.8, 2.4, 3, 4.5, 6, 7.5, 9, 12)
MOST_LABELS = 8  # labels below the horizontal axis
GAP_SHARE = 0.2  # of a bar's place


@dataclass(frozen=True, slots=True)
class Series:
    """One line or one part of each bar; `values` has a number for each label, None for none."""

    name: str
    values: Sequence[float | None]
    number: int = 1  # of the colour, 1 to 6


FormatValue = Callable[[float], str]


def format_count(value: float) -> str:
    """Return a number in few characters: 950, 1.2k, 3.4M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def render_bar_chart(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    title: str,
    format_value: FormatValue = format_count,
) -> SafeString:
    """Return stacked bars, one for each label; `title` names the subject of the chart."""
    totals = [sum(one.values[index] or 0 for one in series) for index in range(len(labels))]
    top = find_axis_end(max(totals, default=0))
    place = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    bars = []
    for index, label in enumerate(labels):
        base = 0.0
        for one in series:
            value = one.values[index] or 0
            if value <= 0:
                continue
            bars.append(
                (
                    one.number,
                    f"{LEFT + place * (index + GAP_SHARE / 2):.1f}",
                    f"{scale_height(base + value, top):.1f}",
                    f"{place * (1 - GAP_SHARE):.1f}",
                    f"{scale_height(base, top) - scale_height(base + value, top):.1f}",
                    f"{label}: {format_value(value)} {one.name}",
                )
            )
            base += value
    shapes = format_html_join(
        "",
        '<rect class="series-{} bar" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
        bars,
    )
    return render_drawing(labels, shapes, series, Axis(top, format_value), title)


def render_line_chart(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    title: str,
    format_value: FormatValue = format_count,
) -> SafeString:
    """Return one line for each series; a label without a value interrupts the line."""
    known = [value for one in series for value in one.values if value is not None]
    top = find_axis_end(max(known, default=0))
    place = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    shapes = SafeString("")
    for one in series:
        points = [
            (LEFT + place * (index + 0.5), scale_height(value, top), labels[index], value)
            if value is not None
            else None
            for index, value in enumerate(one.values)
        ]
        shapes += format_html_join(
            "",
            '<polyline class="series-{}" points="{}"/>',
            (
                (one.number, " ".join(f"{x:.1f},{y:.1f}" for x, y, *_ in run))
                for run in split_at_gaps(points)
            ),
        )
        shapes += format_html_join(
            "",
            '<circle class="series-{}" cx="{}" cy="{}" r="2.5"><title>{}</title></circle>',
            (
                (
                    one.number,
                    f"{x:.1f}",
                    f"{y:.1f}",
                    f"{label}: {format_value(value)} {one.name}",
                )
                for x, y, label, value in filter(None, points)
            ),
        )
    return render_drawing(labels, shapes, series, Axis(top, format_value), title)


Point = tuple[float, float, str, float]


def split_at_gaps(points: Sequence[Point | None]) -> list[list[Point]]:
    """Return the runs of points without a gap."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if len(run) > 1]


@dataclass(frozen=True, slots=True)
class Axis:
    """The vertical axis: its upper end, and how its numbers are written."""

    top: float
    format_value: FormatValue


def find_axis_end(value: float) -> float:
    """Return the number at or above `value` at which the axis ends; 3 for no value.

    Its three parts are round numbers, and whole ones from 1 on.
    """
    if value <= 0:
        return GRID_LINES
    size = 10.0 ** floor(log10(value))
    steps = WHOLE_STEPS if size == 1 else ROUND_STEPS
    return next(step * size for step in steps if step * size >= value)


def scale_height(value: float, top: float) -> float:
    """Return the vertical place of a value in the drawing."""
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)


def render_drawing(
    labels: Sequence[str],
    shapes: SafeString,
    series: Sequence[Series],
    axis: Axis,
    title: str,
) -> SafeString:
    """Return the whole chart: axes, shapes, and a legend where there are several series."""
    picture = format_html(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>',
        WIDTH,
        HEIGHT,
        title,
        render_grid(axis),
        shapes,
        render_labels(labels),
    )
    if len(series) < 2:
        return picture
    legend = format_html_join(
        "", '<li class="series-{}">{}</li>', ((one.number, one.name) for one in series)
    )
    return format_html('{}<ul class="legend">{}</ul>', picture, legend)


def render_grid(axis: Axis) -> SafeString:
    """Return the lines across the drawing, each with its value at the left."""
    ticks = [axis.top * step / GRID_LINES for step in range(GRID_LINES + 1)]
    return format_html_join(
        "",
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text x="{}" y="{}" text-anchor="end">{}</text>',
        (
            (
                LEFT,
                WIDTH - RIGHT,
                f"{scale_height(tick, axis.top):.1f}",
                f"{scale_height(tick, axis.top):.1f}",
                LEFT - 6,
                f"{scale_height(tick, axis.top) + 4:.1f}",
                axis.format_value(tick),
            )
            for tick in ticks
        ),
    )


def render_labels(labels: Sequence[str]) -> SafeString:
    """Return the labels below the drawing, at most MOST_LABELS of them."""
    place = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    every = ceil(len(labels) / MOST_LABELS) or 1
    return format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        (
            (f"{LEFT + place * (index + 0.5):.1f}", HEIGHT - 6, label)
            for index, label in enumerate(labels)
            if index % every == 0
        ),
    )
