"""The table: medians over the rounds, delays less those of the direct path of the same round, as
Markdown.

Shape: `rows(rounds)` -> {target: figures}, `table(rows)` -> text. A dash stands for what was not
measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks.phases import Figures

DELAYS = (
    "p50_ms",
    "p99_ms",
    "slow_delay_p99_ms",
)  # shown as what the target adds to the direct path
DIRECT = "direct"
DASH = "–"

# heading -> what stands below it, from the figures of a row
COLUMNS = {
    "requests/s": "{requests_per_second:,.0f}",
    "CPU µs/request": "{cpu_us_per_request:,.0f}",
    "added p50 / p99 at 100/s, ms": "{added_p50_ms:.2f} / {added_p99_ms:.2f}",
    "chunks/s": "{chunks_per_second:,.0f}",
    "CPU µs/chunk in a burst": "{cpu_us_per_chunk:.1f}",
    "CPU µs/chunk apart": "{cpu_us_per_lone_chunk:.1f}",
    "1,000 slow streams: errors": "{slow_errors:.0f}",
    "their added p99, ms": "{added_slow_delay_p99_ms:.1f}",
    "their RSS, MB": "{slow_rss_mb:.0f}",
    "idle RSS, MB": "{idle_rss_mb:.0f}",
    "cold start, s": "{cold_seconds:.2f}",
}


def rows(rounds: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """One set of figures per target: the median of every figure over the rounds."""
    complete = [
        {name: figures | added(figures, measured.get(DIRECT)) for name, figures in measured.items()}
        for measured in rounds
    ]
    return {name: medians([measured[name] for measured in complete]) for name in complete[0]}


def added(figures: Figures, direct: Figures | None) -> Figures:
    """The delays of `figures` less the direct ones; for the direct path itself, which adds nothing,
    none.
    """
    if direct is None or direct is figures:
        return {}
    return {f"added_{name}": figures[name] - direct[name] for name in DELAYS if name in figures}


def medians(measured: Iterable[Figures]) -> Figures:
    """The median of each figure; all rounds have the same ones."""
    listed = list(measured)
    return {name: median(figures[name] for figures in listed) for name in listed[0]}


def table(measured: Mapping[str, Figures]) -> str:
    """The Markdown table, without columns that nobody filled, and the delays of the direct path
    below it.
    """
    columns = {
        heading: [cell(form, figures) for figures in measured.values()]
        for heading, form in COLUMNS.items()
    }
    filled = {heading: cells for heading, cells in columns.items() if set(cells) != {DASH}}
    lines = [line(["", *filled]), line(["---"] * (len(filled) + 1))]
    lines += [line([name, *cells]) for name, *cells in zip(measured, *filled.values(), strict=True)]
    direct = measured.get(DIRECT, {})
    if "p50_ms" in direct:
        delays = f"p50 {direct['p50_ms']:.2f} ms, p99 {direct['p99_ms']:.2f} ms"
        lines += ["", f"The direct path at 100 requests/s: {delays}."]
    return "\n".join(lines)


def line(cells: Iterable[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def cell(form: str, figures: Figures) -> str:
    """`form` filled in; a dash when a figure is missing."""
    try:
        return form.format_map(figures)
    except KeyError:
        return DASH
