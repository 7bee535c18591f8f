"""The results as a Markdown table: medians over the rounds.

Delays are shown less those of the direct path in the same round. `compute_medians(rounds)` returns
{target: figures}, `render_table(rows)` the text. A dash stands for a figure that was not measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks.phases import Figures

# shown less the delays of the direct path
DELAYS = (
    "p50_ms",
    "p99_ms",
    "slow_delay_p99_ms",
)
DIRECT = "direct"
DASH = "–"

# the heading of each column, and the format of its cells
COLUMNS = {
    "requests/s": "{requests_per_second:,.0f}",
    "CPU µs/request": "{cpu_us_per_request:,.0f}",
    "added p50 / p99 at 100/s, ms": "{added_p50_ms:.2f} / {added_p99_ms:.2f}",
    "chunks/s": "{chunks_per_second:,.0f}",
    "CPU µs/chunk in a burst": "{cpu_us_per_chunk:.1f}",
    "CPU µs/chunk of Messages": "{cpu_us_per_message_chunk:.1f}",
    "CPU µs/chunk apart": "{cpu_us_per_lone_chunk:.1f}",
    "1,000 slow streams: errors": "{slow_errors:.0f}",
    "their added p99, ms": "{added_slow_delay_p99_ms:.1f}",
    "their RSS, MB": "{slow_rss_mb:.0f}",
    "idle RSS, MB": "{idle_rss_mb:.0f}",
    "cold start, s": "{cold_seconds:.2f}",
}


def compute_medians(rounds: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Return one set of figures per target: the median of every figure over the rounds."""
    complete = [
        {
            name: figures | subtract_direct(figures, measured.get(DIRECT))
            for name, figures in measured.items()
        }
        for measured in rounds
    ]
    return {name: median_figures([measured[name] for measured in complete]) for name in complete[0]}


def subtract_direct(figures: Figures, direct: Figures | None) -> Figures:
    """Return the delays of `figures` less the direct ones.

    Empty for the direct path itself, which adds nothing.
    """
    if direct is None or direct is figures:
        return {}
    return {f"added_{name}": figures[name] - direct[name] for name in DELAYS if name in figures}


def median_figures(measured: Iterable[Figures]) -> Figures:
    """Return the median of each figure; all rounds have the same figures."""
    listed = list(measured)
    return {name: median(figures[name] for figures in listed) for name in listed[0]}


def render_table(measured: Mapping[str, Figures]) -> str:
    """Return the Markdown table, followed by the delays of the direct path.

    Columns without any figure are left out.
    """
    columns = {
        heading: [render_cell(form, figures) for figures in measured.values()]
        for heading, form in COLUMNS.items()
    }
    filled = {heading: cells for heading, cells in columns.items() if set(cells) != {DASH}}
    lines = [render_line(["", *filled]), render_line(["---"] * (len(filled) + 1))]
    lines += [
        render_line([name, *cells]) for name, *cells in zip(measured, *filled.values(), strict=True)
    ]
    direct = measured.get(DIRECT, {})
    if "p50_ms" in direct:
        delays = f"p50 {direct['p50_ms']:.2f} ms, p99 {direct['p99_ms']:.2f} ms"
        lines += ["", f"The direct path at 100 requests/s: {delays}."]
    return "\n".join(lines)


def render_line(cells: Iterable[str]) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def render_cell(form: str, figures: Figures) -> str:
    """Return `form` filled in with the figures; a dash when one of them is missing."""
    try:
        return form.format_map(figures)
    except KeyError:
        return DASH
