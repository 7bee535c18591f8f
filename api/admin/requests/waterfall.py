"""The waterfall of one request: the start of each upstream call, and how long each part took."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from api.models import UsageRecord
from providers.protocol.attempt import ANSWERING_OUTCOMES, SKIPPED
from providers.protocol.json_types import JsonObject

WIDTH = 760
LEFT = 190  # room for the names
RIGHT = 70  # room for the durations
LINE_HEIGHT = 24
BAR_HEIGHT = 12
LEAST_WIDTH = 1.5  # of a bar that would be too thin to be seen
MOST_LINES = 60
NAME_CHARS = 30
GRID_STEPS = 4


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of a call, in milliseconds from the begin of the request on."""

    kind: str  # queue, connect, wait, stream, failed or skipped
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the waterfall: the request itself, or one call."""

    name: str
    phases: tuple[Phase, ...]

    @property
    def end_ms(self) -> float:
        return max((phase.end_ms for phase in self.phases), default=0.0)


def render_waterfall(record: UsageRecord) -> SafeString:
    """Return the drawing, or nothing for a request without any time."""
    lines = [make_request_line(record), *make_attempt_lines(record)]
    end_ms = max(line.end_ms for line in lines)
    if end_ms <= 0:
        return SafeString("")
    shown = lines[: MOST_LINES + 1]
    height = LINE_HEIGHT * (len(shown) + 1)
    bars = format_html_join(
        "", "{}", ((render_line(line, place, end_ms),) for place, line in enumerate(shown))
    )
    return format_html(
        '<svg class="waterfall" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>{}',
        WIDTH,
        height,
        _("When each upstream call began, and how long it took"),
        render_grid(end_ms, height),
        bars,
        render_phase_names({phase.kind for line in shown for phase in line.phases}),
    )


def make_request_line(record: UsageRecord) -> Line:
    """Return the line of the request itself."""
    total = record.total_ms or 0.0
    queue = min(record.queue_ms or 0.0, total)
    first_byte = record.first_byte_ms
    phases = [Phase("queue", 0.0, queue)]
    if first_byte is None:
        phases.append(Phase("wait", queue, total))
    else:
        phases.append(Phase("wait", queue, first_byte))
        phases.append(Phase("stream", first_byte, max(first_byte, total)))
    return Line(_("the request"), tuple(phases))


def make_attempt_lines(record: UsageRecord) -> Iterator[Line]:
    """Yield the line of each attempt; older records do not say when it began, so it followed."""
    following_ms = record.queue_ms or 0.0
    for number, attempt in enumerate(record.attempts, 1):
        start_ms = read_number(attempt, "start_ms")
        start_ms = following_ms if start_ms is None else start_ms
        total_ms = read_number(attempt, "total_ms") or 0.0
        following_ms = start_ms + total_ms
        name = f"{number}. {attempt.get('provider') or ''} {attempt.get('model') or ''}"
        yield Line(name[:NAME_CHARS], make_attempt_phases(attempt, start_ms, following_ms))


def make_attempt_phases(attempt: JsonObject, start_ms: float, end_ms: float) -> tuple[Phase, ...]:
    """Return the phases of one call: connecting, waiting for the first byte, and the answer."""
    if attempt.get("outcome") == SKIPPED:
        return (Phase("skipped", start_ms, end_ms),)
    has_answered = attempt.get("outcome") in ANSWERING_OUTCOMES
    connected_ms = start_ms + (read_number(attempt, "connect_ms") or 0.0)
    first_byte = read_number(attempt, "first_byte_ms")
    first_byte_ms = end_ms if first_byte is None else start_ms + first_byte
    phases = [
        Phase("connect", start_ms, min(connected_ms, end_ms)),
        Phase("wait" if has_answered else "failed", connected_ms, max(first_byte_ms, connected_ms)),
    ]
    if first_byte is not None:
        kind = "stream" if has_answered else "failed"
        phases.append(Phase(kind, first_byte_ms, max(first_byte_ms, end_ms)))
    return tuple(phases)


def read_number(attempt: JsonObject, name: str) -> float | None:
    value = attempt.get(name)
    return float(value) if isinstance(value, int | float) else None


# --- drawing --------------------------------------------------------------------------------------
def scale_time(moment_ms: float, end_ms: float) -> float:
    """Return the horizontal place of a time."""
    return LEFT + (WIDTH - LEFT - RIGHT) * moment_ms / end_ms


def scale_width(phase: Phase, end_ms: float) -> float:
    """Return the width of a phase's bar, which is never too thin to be seen."""
    width = scale_time(phase.end_ms, end_ms) - scale_time(phase.start_ms, end_ms)
    return max(LEAST_WIDTH, width)


def render_line(line: Line, place: int, end_ms: float) -> SafeString:
    """Return the name, the bars and the duration of one line."""
    top = LINE_HEIGHT * place + 4
    names = list_phase_names()
    bars = format_html_join(
        "",
        '<rect class="phase-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
        (
            (
                phase.kind,
                f"{scale_time(phase.start_ms, end_ms):.1f}",
                top,
                f"{scale_width(phase, end_ms):.1f}",
                BAR_HEIGHT,
                f"{names[phase.kind]}: {format_duration(phase.end_ms - phase.start_ms)}",
            )
            for phase in line.phases
            if phase.end_ms > phase.start_ms or phase.kind == "skipped"
        ),
    )
    duration = line.end_ms - min((phase.start_ms for phase in line.phases), default=0.0)
    return format_html(
        '<text x="0" y="{}">{}</text>{}<text class="quiet" x="{}" y="{}">{}</text>',
        top + BAR_HEIGHT - 2,
        line.name,
        bars,
        f"{scale_time(line.end_ms, end_ms) + 4:.1f}",
        top + BAR_HEIGHT - 2,
        format_duration(duration),
    )


def render_grid(end_ms: float, height: int) -> SafeString:
    """Return the lines of the axis of time, and their times below."""
    return format_html_join(
        "",
        '<line class="grid" x1="{0}" x2="{0}" y1="0" y2="{1}"/>'
        '<text class="quiet" x="{0}" y="{2}" text-anchor="middle">{3}</text>',
        (
            (
                f"{scale_time(end_ms * step / GRID_STEPS, end_ms):.1f}",
                height - LINE_HEIGHT + 2,
                height - 6,
                format_duration(end_ms * step / GRID_STEPS),
            )
            for step in range(GRID_STEPS + 1)
        ),
    )


def list_phase_names() -> dict[str, str]:
    return {
        "queue": _("in our queue"),
        "connect": _("connecting"),
        "wait": _("waiting for the first byte"),
        "stream": _("the answer"),
        "failed": _("failed"),
        "skipped": _("skipped"),
    }


def render_phase_names(kinds: set[str]) -> SafeString:
    """Return the legend of these kinds of phases."""
    names = list_phase_names().items()
    return format_html(
        '<ul class="phases">{}</ul>',
        format_html_join(
            "",
            '<li><svg viewBox="0 0 10 10" aria-hidden="true">'
            '<rect class="phase-{}" width="10" height="10"/></svg>{}</li>',
            [(kind, name) for kind, name in names if kind in kinds],
        ),
    )


def format_duration(duration_ms: float) -> str:
    """Return a duration as `850 ms` or `2.41 s`."""
    if duration_ms < 1_000:
        return f"{duration_ms:.3g} ms"
    return f"{duration_ms / 1000:.2f} s"
