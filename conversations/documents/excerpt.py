"""A long text shortened for one question: its dense part in order, then the passages that concern
the question. No I/O.

The dense part does not depend on the question, so that the beginning of a prompt stays the same
from turn to turn, as upstreams that cache prompts like it. Of instructions the head and the tail
always stay: there it stands what is to be done.
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
    """What a text is to fit into: `budget` characters. `threshold`: passages under it are no dense
    ones. `brief`: what somebody made of the text, shown instead of its dense part where there is
    room. `ends`: characters of its head and of its tail that stay, but no more than a quarter of
    the room each.
    """

    budget: int
    threshold: float = 0.0
    brief: str = ""
    ends: int = 0


def excerpt(text: str, outline: Outline, hits: Sequence[Hit], frame: Frame) -> str:
    """`text` within the frame's budget: in half of it the brief, or the opening and the densest
    passages; in the rest the `hits`, best first, and then the next densest. Texts that fit stay as
    they are.
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
    if not hits and not brief:  # nothing is asked: the dense part has all the room
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
    """The first of the ranked passages that are not known, as many as there is room for."""
    keys = {hit.key for hit in known}
    return within([hit for hit in ranked if hit.key not in keys], lengths, room)


def span_of(outline: Outline, hit: Hit) -> Span:
    number = int(hit.key)
    return outline.starts[number], outline.ends[number]


def covered(span: Span, spans: Sequence[Span]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in spans)


def ends_of(text: str, most: int) -> list[Span]:
    """The head and the tail of a text, at most so long, where a line or a sentence ends; none when
    that is too short for one.
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
    """These parts of the text in its order: neighbours as they stood, a mark where something is
    missing.
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
