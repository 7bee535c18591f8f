"""A text too long for its place, made to fit: the dense part word for word and in order, the rest handed back for an
index.

In: a text and a `Plan` (its budget in characters). Out: `Fitted`, whose text is never longer than the budget.
With somebody who summarises, passages that say little are replaced by their summaries, and again by summaries of
those, as long as a round makes the whole at least a tenth shorter (OpenKimi's rule); what is still too long is
cut at passage borders, least dense first. The work itself is `rounds`, a generator that asks for summaries and
does no input or output; `compress` and `acompress` drive it.
"""

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from conversations.documents.density import density
from conversations.documents.split import SIZE, Passage, split

PROGRESS = 0.9  # a round goes on only when the text is at most this share of what it was
OMITTED = "\n[…]\n"  # stands where passages were left out
SMALLEST = 100  # characters: a smaller budget does not make smaller passages, it keeps nothing

Summaries = Sequence[str]
Rounds = Generator[list[str], Summaries | None, "Fitted"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to make a text fit: into `budget` characters, judged in passages of `size` by a `method` of
    density.METHODS; passages that score at most `threshold` (0..1, relative to the document) are the ones to be
    summarised."""

    budget: int
    size: int = SIZE
    method: str = "weighted"
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text within its budget. `kept` and `rest` together are all passages of the whole text, each in order: the
    first stand in `text` word for word, the others do not (or as summaries only) and belong in an index.
    `rounds`: how often it was summarised."""

    text: str
    kept: list[Passage]
    rest: list[Passage]
    rounds: int


def compress(text: str, plan: Plan, summarise: Callable[[list[str]], Summaries] | None = None) -> Fitted:
    """`text` made to fit. `summarise`: texts -> as many summaries, in order; one that is no shorter is not used, an
    empty one drops its passage. Raises ValueError for a negative budget or another number of summaries."""
    work = rounds(text, plan)
    try:
        asked = next(work)
        while True:
            asked = work.send(summarise(asked) if summarise else None)
    except StopIteration as done:
        return _result(done)


async def acompress(text: str, plan: Plan, summarise: Callable[[list[str]], Awaitable[Summaries]]) -> Fitted:
    """`compress` with a summariser that is awaited, once a round."""
    work = rounds(text, plan)
    try:
        asked = next(work)
        while True:
            asked = work.send(await summarise(asked))
    except StopIteration as done:
        return _result(done)


def _result(done: StopIteration) -> Fitted:
    fitted: Fitted = done.value
    return fitted


def rounds(text: str, plan: Plan) -> Rounds:
    """Yields the texts to be summarised in a round, is sent as many summaries, or None when there are none to be
    had; returns the fitted text. A text within its budget comes back as it is, at once."""
    if plan.budget < 0:
        raise ValueError("the budget is at least 0 characters")
    passages = split(text, min(plan.size, max(plan.budget, SMALLEST)))
    if len(text) <= plan.budget:
        return Fitted(text, passages, [], 0)
    pieces = [passage.text for passage in passages]
    done, before, length = 0, float("inf"), len(text)
    while length > plan.budget and length <= PROGRESS * before:
        low = sparse(pieces, plan)
        summaries = (yield [pieces[at] for at in low]) if low else None
        if summaries is None:
            break
        pieces = shortened(pieces, low, summaries)
        done, before, length = done + 1, length, len(joined(passages, pieces))
    if length > plan.budget:
        pieces = cut_down(pieces, plan)
    kept = [passage for passage, piece in zip(passages, pieces, strict=True) if piece == passage.text]
    rest = [passage for passage, piece in zip(passages, pieces, strict=True) if piece != passage.text]
    return Fitted(joined(passages, pieces), kept, rest, done)


def alive(pieces: Sequence[str]) -> list[int]:
    """The positions of the pieces that are still there; a dropped one is an empty text."""
    return [at for at, piece in enumerate(pieces) if piece]


def sparse(pieces: Sequence[str], plan: Plan) -> list[int]:
    """The positions, in order, of the pieces that say little compared with the others still there; never the
    opening."""
    there = alive(pieces)
    scores = density([pieces[at] for at in there], plan.method)
    return [at for at, score in zip(there[1:], scores[1:], strict=True) if score <= plan.threshold]


def shortened(pieces: Sequence[str], low: Sequence[int], summaries: Summaries) -> list[str]:
    """The pieces with those at `low` replaced by their summaries, where these are shorter."""
    shorter = list(pieces)
    for at, summary in zip(low, summaries, strict=True):
        summary = summary.strip()
        if len(summary) < len(pieces[at]):
            shorter[at] = summary
    return shorter


def cut_down(pieces: Sequence[str], plan: Plan) -> list[str]:
    """The pieces without the least dense ones, so that the rest fits. The opening stays when it can: it says what
    the text is, and in a prompt what is to be done with it."""
    there = alive(pieces)
    scores = density([pieces[at] for at in there], plan.method)
    order = sorted(range(len(there)), key=lambda at: (at > 0, -scores[at], at))
    left = plan.budget + len(OMITTED)
    chosen = set()
    for at in (there[place] for place in order):
        cost = len(pieces[at]) + len(OMITTED)
        if cost <= left:
            left -= cost
            chosen.add(at)
    return [piece if at in chosen else "" for at, piece in enumerate(pieces)]


def joined(passages: Sequence[Passage], pieces: Sequence[str]) -> str:
    """The pieces as one text: neighbours as they stood, a summary on lines of its own, a mark where something is
    missing."""
    there = alive(pieces)
    verbatim = [piece == passage.text for passage, piece in zip(passages, pieces, strict=True)]
    parts = [pieces[at] for at in there[:1]]
    for before, at in pairwise(there):
        if at > before + 1:
            parts.append(OMITTED)
        elif not (verbatim[before] and verbatim[at]):
            parts.append("\n")
        parts.append(pieces[at])
    return "".join(parts)
