"""The verdicts of an import as its page shows them: counts, a filter, one page of lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from providers.integers import parse_integer
from providers.task_progress import find_progress
from tokens.imports.batch_model import WORKING_STATES, ImportBatch
from tokens.imports.formats.format_detection import FORMAT_NAMES
from tokens.imports.import_batches import read_verdicts
from tokens.imports.undo_import import UNDOABLE_STATES, list_tokens
from tokens.imports.verdicts import (
    KNOWN,
    MALFORMED,
    NEW,
    OTHER_PROVIDER,
    TWICE_IN_FILE,
    UPDATED,
    VERDICT_LABELS,
    VERDICTS,
)

LINES_PER_PAGE = 100
LAST_PAGE = 100_000
COLOURS = {
    NEW: "good",
    UPDATED: "good",
    KNOWN: "off",
    TWICE_IN_FILE: "off",
    OTHER_PROVIDER: "wait",
    MALFORMED: "bad",
}
# the words of addresses, which are no sentences
WORDS = {
    NEW: "new",
    UPDATED: "updated",
    KNOWN: "known",
    TWICE_IN_FILE: "twice",
    OTHER_PROVIDER: "other",
    MALFORMED: "malformed",
}


@dataclass(frozen=True, slots=True)
class VerdictTab:
    """A kind of verdict with its number, and the address of the page with only these."""

    label: str | Promise
    count: int
    query: str
    is_current: bool
    colour: str


@dataclass(frozen=True, slots=True)
class ShownLine:
    number: int
    label: str | Promise
    colour: str
    token: str
    reason: str


def build_batch_context(request: HttpRequest, batch: ImportBatch) -> dict[str, object]:
    """Return the template context of an import's progress and its verdicts."""
    word = request.GET.get("verdict", "")
    kind = next((verdict for verdict, name in WORDS.items() if name == word), "")
    total = sum(batch.counts.get(verdict, 0) for verdict in VERDICTS)
    count = batch.counts.get(kind, 0) if kind else total
    number = parse_integer(request.GET.get("page", ""), 1, LAST_PAGE) or 1
    start = (number - 1) * LINES_PER_PAGE
    is_working = batch.state in WORKING_STATES
    return {
        "is_working": is_working,
        "progress": find_progress(batch.progress) if is_working and batch.progress else None,
        "format_name": FORMAT_NAMES.get(batch.format, ""),
        "tabs": list(build_tabs(batch, kind, total)),
        "new_count": batch.counts.get(NEW, 0),
        "updated_count": batch.counts.get(UPDATED, 0),
        "lines": [] if is_working else list(build_lines(batch, kind, start)),
        "first_number": start + 1,
        "previous_query": make_query(kind, number - 1) if number > 1 else "",
        "next_query": make_query(kind, number + 1) if start + LINES_PER_PAGE < count else "",
        "is_undoable": batch.state in UNDOABLE_STATES and list_tokens(batch).exists(),
        "deleted_count": batch.counts.get("deleted", 0),
        "kept_count": batch.counts.get("kept", 0),
    }


def build_tabs(batch: ImportBatch, kind: str, total: int) -> Iterator[VerdictTab]:
    """Yield a tab for all lines, and one for each verdict that some line has."""
    yield VerdictTab(_("all"), total, make_query("", 1), not kind, "")
    for verdict in VERDICTS:
        if count := batch.counts.get(verdict, 0):
            query = make_query(verdict, 1)
            is_current = verdict == kind
            yield VerdictTab(VERDICT_LABELS[verdict], count, query, is_current, COLOURS[verdict])


def build_lines(batch: ImportBatch, kind: str, start: int) -> Iterator[ShownLine]:
    """Yield the lines of one page."""
    for verdict in read_verdicts(batch, kind, start, LINES_PER_PAGE):
        label = VERDICT_LABELS[verdict.verdict]
        colour = COLOURS[verdict.verdict]
        reason = _(verdict.reason) if verdict.reason else ""
        yield ShownLine(verdict.line, label, colour, verdict.token, reason)


def make_query(kind: str, number: int) -> str:
    """Return the query of the address of a page of verdicts."""
    values = {"verdict": WORDS.get(kind, ""), "page": str(number) if number > 1 else ""}
    return "?" + urlencode({name: value for name, value in values.items() if value})
