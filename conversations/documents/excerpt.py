"""Shorten a long text for one question. No I/O.

The excerpt is the dense part of the text in order, then the passages that concern the question. The
dense part does not depend on the question, so the beginning of a prompt stays the same from turn to
turn, which helps upstreams that cache prompts. The head and the tail of instructions are always
kept, because the task is stated there.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conversations.documents.compress import OMISSION_MARK
from conversations.documents.index.bm25 import Key, PassageHit, select_within_budget
from conversations.documents.index_worker import Outline
from conversations.text.split import FULL_STOPS

SHORTENED_NOTE = "\n\n[The text above is shortened; {shown} of its {total} characters are shown.]"
DENSE_PASSAGES_NOTE = "\n\n[Of what was left out above, this says most:]\n\n"
QUESTION_PASSAGES_NOTE = (
    "\n\n[Of what was left out above, these passages concern the last question:]\n\n"
)
PASSAGES_END_NOTE = "\n\n[End of the passages.]"
NOTES_CHARS = (
    len(SHORTENED_NOTE)
    + len(DENSE_PASSAGES_NOTE)
    + len(QUESTION_PASSAGES_NOTE)
    + len(PASSAGES_END_NOTE)
    + 16
)
LEAST_END_CHARS = 80  # characters of a head or tail
BORDER_PATTERN = re.compile(rf"\n|[.!?](?=\s)|[{FULL_STOPS}]")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ExcerptFrame:
    """The budget of an excerpt in characters, and how to fill it.

    Passages below `threshold` do not count as dense. `summary` is a summary of the text, shown in
    place of its dense part where there is room. `end_chars` are the characters of the head and of
    the tail that are kept, at most a quarter of the room each.
    """

    budget_chars: int
    threshold: float = 0.0
    summary: str = ""
    end_chars: int = 0


def build_excerpt(
    text: str, outline: Outline, hits: Sequence[PassageHit], frame: ExcerptFrame
) -> str:
    """Return the text within the frame's budget.

    Half of it is for the brief, or for the opening and the densest passages. The rest is for
    `hits`, best first, and then for the next densest passages. A text that fits is returned
    unchanged.
    """
    if len(text) <= frame.budget_chars:
        return text
    lengths: dict[Key, int] = {
        at: outline.passage_length(at) + len(OMISSION_MARK) for at in range(len(outline))
    }
    room = frame.budget_chars - NOTES_CHARS
    ends = find_end_spans(text, min(frame.end_chars, room // 4))
    room -= sum(end - start + len(OMISSION_MARK) for start, end in ends)
    if not lengths or (lengths[0] > room and not ends):
        return text[: max(frame.budget_chars, 0)]
    brief = frame.summary if len(frame.summary) <= room else ""
    ranked = [
        hit for hit in outline.rank_by_density() if not is_covered(span_of(outline, hit), ends)
    ]
    kept: list[PassageHit] = []
    if not brief:
        dense = [hit for hit in ranked if hit.key == 0 or hit.score >= frame.threshold]
        kept = select_within_budget(dense, lengths, max(room // 2, 0 if ends else lengths[0]))
    left = room - len(brief) - sum(lengths[hit.key] for hit in kept)
    open_hits = [hit for hit in hits if not is_covered(span_of(outline, hit), ends)]
    found = select_new_hits(open_hits, kept, lengths, left)
    more = select_new_hits(
        ranked, [*kept, *found], lengths, left - sum(lengths[hit.key] for hit in found)
    )
    if not hits and not brief:  # there is no question: the dense part gets all the room
        kept = [*kept, *more]
        more = []
    head = ends[:1]
    tail = ends[1:]
    if brief:
        shown = OMISSION_MARK.join(
            filter(None, (join_spans(text, head), brief, join_spans(text, tail)))
        )
    else:
        shown = join_spans(text, [*ends, *(span_of(outline, hit) for hit in kept)])
    further = join_spans(text, [span_of(outline, hit) for hit in more])
    concerning = join_spans(text, [span_of(outline, hit) for hit in found])
    said = SHORTENED_NOTE.format(shown=len(shown) + len(further) + len(concerning), total=len(text))
    said += DENSE_PASSAGES_NOTE + further if further else ""
    said += QUESTION_PASSAGES_NOTE + concerning if concerning else ""
    return shown + said + (PASSAGES_END_NOTE if further or concerning else "")


def select_new_hits(
    ranked: Sequence[PassageHit],
    known_hits: Iterable[PassageHit],
    lengths: dict[Key, int],
    room: int,
) -> list[PassageHit]:
    """Return the first of the ranked passages that are not in `known_hits`, as many as fit."""
    keys = {hit.key for hit in known_hits}
    return select_within_budget([hit for hit in ranked if hit.key not in keys], lengths, room)


def span_of(outline: Outline, hit: PassageHit) -> Span:
    number = int(hit.key)
    return outline.starts[number], outline.ends[number]


def is_covered(span: Span, spans: Sequence[Span]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in spans)


def find_end_spans(text: str, most_chars: int) -> list[Span]:
    """Return the spans of head and tail of a text, at most `most_chars` characters each.

    They end at a line or a sentence where possible. None when `most_chars` is too short.
    """
    if most_chars < LEAST_END_CHARS:
        return []
    borders = [
        found.end()
        for found in BORDER_PATTERN.finditer(text, 0, most_chars)
        if found.end() > most_chars // 2
    ]
    begin = len(text) - most_chars
    starts = (
        found.end()
        for found in BORDER_PATTERN.finditer(text, begin)
        if found.end() <= len(text) - most_chars // 2
    )
    return [(0, borders[-1] if borders else most_chars), (next(starts, begin), len(text))]


def join_spans(text: str, spans: Iterable[Span]) -> str:
    """Join these parts of the text in its order.

    Neighbours are joined as they were; a mark stands for missing parts.
    """
    parts: list[str] = []
    last = 0
    for start, end in sorted(spans):
        if start > last and parts:
            parts.append(OMISSION_MARK)
        if end > last or not parts:
            parts.append(text[max(start, last) : end])
        last = max(last, end)
    return "".join(parts)
