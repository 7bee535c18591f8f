"""Shorten a long text for one question. No I/O.

The excerpt is the dense part of the text in order, then the passages that concern the question. The
dense part does not depend on the question, so the beginning of a prompt stays the same from turn to
turn, which helps upstreams that cache prompts. The head and the tail of instructions are always
kept, because the task is stated there.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conversations.documents.compress import OMITTED
from conversations.documents.index.bm25 import Hit, Key, within
from conversations.documents.index_worker import Outline
from conversations.text.split import FULL_STOPS

SHORTENED = "\n\n[The text above is shortened; {shown} of its {total} characters are shown.]"
FURTHER = "\n\n[Of what was left out above, this says most:]\n\n"
CONCERNING = "\n\n[Of what was left out above, these passages concern the last question:]\n\n"
END = "\n\n[End of the passages.]"
MARKS = len(SHORTENED) + len(FURTHER) + len(CONCERNING) + len(END) + 16
LEAST = 80  # characters of a head or tail
BORDERS = re.compile(rf"\n|[.!?](?=\s)|[{FULL_STOPS}]")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """The budget of an excerpt in characters, and how to fill it.

    Passages below `threshold` do not count as dense. `brief` is a summary of the text, shown in
    place of its dense part where there is room. `ends` are the characters of the head and of the
    tail that are kept, at most a quarter of the room each.
    """

    budget: int
    threshold: float = 0.0
    brief: str = ""
    ends: int = 0


def excerpt(text: str, outline: Outline, hits: Sequence[Hit], frame: Frame) -> str:
    """Return the text within the frame's budget.

    Half of it is for the brief, or for the opening and the densest passages. The rest is for
    `hits`, best first, and then for the next densest passages. A text that fits is returned
    unchanged.
    """
    if len(text) <= frame.budget:
        return text
    lengths: dict[Key, int] = {at: outline.length(at) + len(OMITTED) for at in range(len(outline))}
    room = frame.budget - MARKS
    ends = ends_of(text, min(frame.ends, room // 4))
    room -= sum(end - start + len(OMITTED) for start, end in ends)
    if not lengths or (lengths[0] > room and not ends):
        return text[: max(frame.budget, 0)]
    brief = frame.brief if len(frame.brief) <= room else ""
    ranked = [hit for hit in outline.densest() if not covered(span_of(outline, hit), ends)]
    kept: list[Hit] = []
    if not brief:
        dense = [hit for hit in ranked if hit.key == 0 or hit.score >= frame.threshold]
        kept = within(dense, lengths, max(room // 2, 0 if ends else lengths[0]))
    left = room - len(brief) - sum(lengths[hit.key] for hit in kept)
    open_hits = [hit for hit in hits if not covered(span_of(outline, hit), ends)]
    found = unknown(open_hits, kept, lengths, left)
    more = unknown(ranked, [*kept, *found], lengths, left - sum(lengths[hit.key] for hit in found))
    if not hits and not brief:  # there is no question: the dense part gets all the room
        kept = [*kept, *more]
        more = []
    head = ends[:1]
    tail = ends[1:]
    if brief:
        shown = OMITTED.join(filter(None, (joined(text, head), brief, joined(text, tail))))
    else:
        shown = joined(text, [*ends, *(span_of(outline, hit) for hit in kept)])
    further = joined(text, [span_of(outline, hit) for hit in more])
    concerning = joined(text, [span_of(outline, hit) for hit in found])
    said = SHORTENED.format(shown=len(shown) + len(further) + len(concerning), total=len(text))
    said += FURTHER + further if further else ""
    said += CONCERNING + concerning if concerning else ""
    return shown + said + (END if further or concerning else "")


def unknown(
    ranked: Sequence[Hit], known: Iterable[Hit], lengths: dict[Key, int], room: int
) -> list[Hit]:
    """Return the first of the ranked passages that are not in `known`, as many as fit."""
    keys = {hit.key for hit in known}
    return within([hit for hit in ranked if hit.key not in keys], lengths, room)


def span_of(outline: Outline, hit: Hit) -> Span:
    number = int(hit.key)
    return outline.starts[number], outline.ends[number]


def covered(span: Span, spans: Sequence[Span]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in spans)


def ends_of(text: str, most: int) -> list[Span]:
    """Return the spans of head and tail of a text, at most `most` characters each.

    They end at a line or a sentence where possible. None when `most` is too short.
    """
    if most < LEAST:
        return []
    borders = [found.end() for found in BORDERS.finditer(text, 0, most) if found.end() > most // 2]
    begin = len(text) - most
    starts = (
        found.end()
        for found in BORDERS.finditer(text, begin)
        if found.end() <= len(text) - most // 2
    )
    return [(0, borders[-1] if borders else most), (next(starts, begin), len(text))]


def joined(text: str, spans: Iterable[Span]) -> str:
    """Join these parts of the text in its order.

    Neighbours are joined as they were; a mark stands for missing parts.
    """
    parts: list[str] = []
    last = 0
    for start, end in sorted(spans):
        if start > last and parts:
            parts.append(OMITTED)
        if end > last or not parts:
            parts.append(text[max(start, last) : end])
        last = max(last, end)
    return "".join(parts)
