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


class PassageRoom:
    """Room for passages, in characters.

    Passages that are taken use it up. None is taken twice, and none that lies in `covered_spans`,
    which are shown anyway.
    """

    def __init__(self, outline: Outline, room_chars: int, covered_spans: Sequence[Span]) -> None:
        self.room_chars = room_chars
        self._outline = outline
        self._covered_spans = covered_spans
        self._taken_keys: set[Key] = set()
        self._lengths: dict[Key, int] = {
            number: outline.passage_length(number) + len(OMISSION_MARK)
            for number in range(len(outline))
        }

    @property
    def opening_chars(self) -> int:
        """The characters that the first passage takes, 0 when there are no passages."""
        return self._lengths.get(0, 0)

    def take_passages(
        self, ranked: Iterable[PassageHit], most_chars: int | None = None
    ) -> list[Span]:
        """Take the first of the ranked passages, as many as fit; return their spans."""
        new_hits = [hit for hit in ranked if self._is_new(hit)]
        budget = self.room_chars if most_chars is None else most_chars
        taken = select_within_budget(new_hits, self._lengths, budget)
        for hit in taken:
            self._taken_keys.add(hit.key)
            self.room_chars -= self._lengths[hit.key]
        return [span_of(self._outline, hit) for hit in taken]

    def take_dense_passages(self, ranked: Iterable[PassageHit], threshold: float) -> list[Span]:
        """Take the opening and the passages that score at least `threshold`, in half of the room.

        In a small room they leave enough for one passage that concerns the question, however long.
        The opening may take all the room, unless the head of the text is shown anyway.
        """
        dense_hits = [hit for hit in ranked if hit.key == 0 or hit.score >= threshold]
        opening_chars = 0 if self._covered_spans else self.opening_chars
        longest_chars = max(self._lengths.values())
        dense_chars = max(0, min(self.room_chars // 2, self.room_chars - longest_chars))
        return self.take_passages(dense_hits, max(dense_chars, opening_chars))

    def _is_new(self, hit: PassageHit) -> bool:
        if hit.key in self._taken_keys:
            return False
        return not is_covered(span_of(self._outline, hit), self._covered_spans)


def build_excerpt(
    text: str, outline: Outline, hits: Sequence[PassageHit], frame: ExcerptFrame
) -> str:
    """Return the text within the frame's budget.

    Half of it is for the summary, or for the opening and the densest passages. The rest is for
    `hits`, best first, and then for the next densest passages. A text that fits is returned
    unchanged.
    """
    if len(text) <= frame.budget_chars:
        return text
    room_chars = frame.budget_chars - NOTES_CHARS
    ends = find_end_spans(text, min(frame.end_chars, room_chars // 4))
    room_chars -= sum(end - start + len(OMISSION_MARK) for start, end in ends)
    room = PassageRoom(outline, room_chars, ends)
    if not len(outline) or (room.opening_chars > room_chars and not ends):
        return text[: max(frame.budget_chars, 0)]
    ranked = outline.rank_by_density()
    if frame.summary and len(frame.summary) <= room_chars:
        room.room_chars -= len(frame.summary)
        beginning = join_around_summary(text, ends, frame.summary)
        concerning = room.take_passages(hits)
        further = room.take_passages(ranked)
    else:
        dense = room.take_dense_passages(ranked, frame.threshold)
        concerning = room.take_passages(hits)
        further = room.take_passages(ranked)
        if not hits:  # there is no question: the dense part gets all the room
            dense += further
            further = []
        beginning = join_spans(text, [*ends, *dense])
    return add_notes(
        beginning, join_spans(text, further), join_spans(text, concerning), total=len(text)
    )


def join_around_summary(text: str, ends: Sequence[Span], summary: str) -> str:
    """Return head, summary and tail, with marks between them."""
    parts = [join_spans(text, ends[:1]), summary, join_spans(text, ends[1:])]
    return OMISSION_MARK.join(filter(None, parts))


def add_notes(beginning: str, further: str, concerning: str, total: int) -> str:
    """Join the parts of an excerpt, with notes that say what they are.

    `further` are the next densest passages, `concerning` those that concern the question; both may
    be empty. `total` is the length of the whole text.
    """
    shown = len(beginning) + len(further) + len(concerning)
    parts = [beginning, SHORTENED_NOTE.format(shown=shown, total=total)]
    if further:
        parts += (DENSE_PASSAGES_NOTE, further)
    if concerning:
        parts += (QUESTION_PASSAGES_NOTE, concerning)
    if further or concerning:
        parts.append(PASSAGES_END_NOTE)
    return "".join(parts)


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
    head_end = most_chars
    for border in BORDER_PATTERN.finditer(text, 0, most_chars):
        if border.end() > most_chars // 2:
            head_end = border.end()
    tail_start = len(text) - most_chars
    first_border = BORDER_PATTERN.search(text, tail_start)
    if first_border and first_border.end() <= len(text) - most_chars // 2:
        tail_start = first_border.end()
    return [(0, head_end), (tail_start, len(text))]


def join_spans(text: str, spans: Iterable[Span]) -> str:
    """Join these parts of the text in its order.

    Neighbours are joined as they were; a mark stands for missing parts.
    """
    parts: list[str] = []
    joined_end = 0
    for start, end in sorted(spans):
        if start > joined_end and parts:
            parts.append(OMISSION_MARK)
        if end > joined_end or not parts:
            parts.append(text[max(start, joined_end) : end])
        joined_end = max(joined_end, end)
    return "".join(parts)
