"""A long text shortened for one question: its dense part in order, then the passages that concern the question. No I/O.

The dense part does not depend on the question, so that the beginning of a prompt stays the same from turn to turn, as
upstreams that cache prompts like it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conversations.documents.compress import OMITTED
from conversations.documents.divide import Outline
from conversations.documents.retrieve import Hit, Key, within

SHORTENED = "\n\n[The text above is shortened; {shown} of its {total} characters are shown.]"
CONCERNING = "\n\n[Of what was left out above, these passages concern the last question:]\n\n"
END = "\n\n[End of the passages.]"
MARKS = len(SHORTENED) + len(CONCERNING) + len(END) + 16


@dataclass(frozen=True, slots=True)
class Frame:
    """What a text is to fit into: `budget` characters. `threshold`: passages under it are no dense ones. `brief`: what
    somebody made of the text, shown instead of its dense part; it fits into the budget."""

    budget: int
    threshold: float = 0.0
    brief: str = ""


def excerpt(text: str, outline: Outline, hits: Sequence[Hit], frame: Frame) -> str:
    """`text` within the frame's budget: in half of it the brief, or the opening and the densest passages; in the rest
    the `hits`, best first. Texts that fit stay as they are.
    """
    if len(text) <= frame.budget:
        return text
    lengths: dict[Key, int] = {at: outline.length(at) + len(OMITTED) for at in range(len(outline))}
    room = frame.budget - MARKS
    if not lengths or lengths[0] > room:
        return text[: max(frame.budget, 0)]
    ranked = outline.densest()
    kept: list[Hit] = []
    if not frame.brief:
        dense = [hit for hit in ranked if hit.key == 0 or hit.score >= frame.threshold]
        kept = within(dense, lengths, max(room // 2, lengths[0]))
    left = room - len(frame.brief) - sum(lengths[hit.key] for hit in kept)
    known = {hit.key for hit in kept}
    found = within([hit for hit in hits if hit.key not in known], lengths, left)
    if not hits and not frame.brief:  # nothing is asked: the dense part has all the room
        kept += within([hit for hit in ranked if hit.key not in known], lengths, left)
    shown = frame.brief or joined(text, outline, (hit.key for hit in kept))
    concerning = joined(text, outline, (hit.key for hit in found))
    note = SHORTENED.format(shown=len(shown) + len(concerning), total=len(text))
    return shown + note + (CONCERNING + concerning + END if found else "")


def joined(text: str, outline: Outline, keys: Iterable[Key]) -> str:
    """These passages of the text in its order: neighbours as they stood, a mark where something is missing."""
    parts: list[str] = []
    end = 0
    for number in sorted(map(int, keys)):
        start = outline.starts[number]
        if start > end and parts:
            parts.append(OMITTED)
        parts.append(text[max(start, end) : outline.ends[number]])
        end = outline.ends[number]
    return "".join(parts)
