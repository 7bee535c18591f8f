"""A text too long for its place, made to fit: the dense part word for word and in order, the rest
handed back for an index.

In: a text and a `Plan` (its budget in characters). Out: `Fitted`, whose text is never longer than
the budget. With somebody who summarises, at least half of the budget is for the densest passages;
of the others as many as could then fit are replaced by their summaries, and these again by
summaries of them, as long as a round makes the whole at least a tenth shorter (OpenKimi's rule); a
round that cannot is not begun. What is still too long is cut at passage borders, least dense first.
The work itself is `rounds`, a generator that asks for summaries and does no input or output;
`acompress` drives it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from conversations.documents.index_worker import Outline
from conversations.text.density import density
from conversations.text.split import SIZE, Passage, split

PROGRESS = 0.9  # a round goes on only when the text is at most this share of what it was
EXPECTED = 0.5  # of a passage's length, which its summary may have
OMITTED = "\n[…]\n"  # stands where passages were left out
SMALLEST = 100  # characters: a smaller budget does not make smaller passages, it keeps nothing
MANY = 1_000_000

Summaries = Sequence[str | None]
Rounds = Generator[list[str], Summaries | None, "Fitted"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to make a text fit: into `budget` characters, judged in passages of `size` by a `method`
    of density.METHODS; passages that score at most `threshold` (0..1, relative to the document) are
    not kept word for word where there is somebody to summarise them, `most` times in all.
    """

    budget: int
    size: int = SIZE
    method: str = "weighted"
    threshold: float = 0.5
    most: int = MANY


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text within its budget. `kept` and `rest` together are all passages of the whole text, each
    in order: the first stand in `text` word for word, the others do not (or as summaries only) and
    belong in an index. `rounds`: how often it was summarised; `whole`: every summary that was asked
    for was made.
    """

    text: str
    kept: list[Passage]
    rest: list[Passage]
    rounds: int
    whole: bool = True


async def acompress(
    text: str,
    plan: Plan,
    summarise: Callable[[list[str]], Awaitable[Summaries]],
    outline: Outline | None = None,
) -> Fitted:
    """Make `text` fit. `summarise` is awaited once a round, all else is done in a thread. With the
    text's outline nothing has to be divided and scored.

    `summarise`: texts -> as many summaries, in order; one that is no shorter is not used, an empty
    one drops its passage, None is one that could not be made, after which no more are asked for.
    Raises ValueError for a negative budget or another number of summaries.
    """
    work = rounds(text, plan, outline)
    made = await asyncio.to_thread(advanced, work, None)
    while isinstance(made, list):
        made = await asyncio.to_thread(advanced, work, await summarise(made))
    return made


def advanced(work: Rounds, answers: Summaries | None) -> list[str] | Fitted:
    """What is asked next, or the result."""
    try:
        return work.send(answers)
    except StopIteration as done:
        fitted: Fitted = done.value
        return fitted


def rounds(text: str, plan: Plan, outline: Outline | None = None) -> Rounds:
    """Yields the texts to be summarised in a round, is sent as many summaries, or None when there
    are none to be had; returns the fitted text. A text within its budget comes back as it is, at
    once.
    """
    if plan.budget < 0:
        raise ValueError("the budget is at least 0 characters")
    passages, scores = divided(text, plan) if outline is None else outlined(text, outline)
    if len(text) <= plan.budget:
        return Fitted(text, passages, [], 0)
    whole = [passage.text for passage in passages]
    order = sorted(range(len(whole)), key=lambda at: (at > 0, -scores[at], at))
    kept, low = chosen(whole, order, scores, plan)
    first = {*kept, *low}
    pieces = [piece if at in first else "" for at, piece in enumerate(whole)]
    done = 0
    left = plan.most
    length = len(joined(passages, pieces))
    complete = True
    while low := worthwhile(pieces, low[:left], length):
        summaries = yield [pieces[at] for at in low]
        if summaries is None:
            break
        pieces = shortened(pieces, low, summaries)
        complete = None not in summaries
        done = done + 1
        left = left - len(low)
        before = length
        length = len(joined(passages, pieces))
        if length <= plan.budget or length > PROGRESS * before or not complete:
            break
    if all(pieces[at] == whole[at] for at in first):
        first = set()  # nothing came of it
    pieces = [piece if at in first else whole[at] for at, piece in enumerate(pieces)]
    pieces = cut_down(pieces, sorted(order, key=lambda at: at > 0 and at not in first), plan.budget)
    same = [piece == passage.text for passage, piece in zip(passages, pieces, strict=True)]
    verbatim = [passage for passage, stands in zip(passages, same, strict=True) if stands]
    rest = [passage for passage, stands in zip(passages, same, strict=True) if not stands]
    return Fitted(joined(passages, pieces), verbatim, rest, done, complete)


def divided(text: str, plan: Plan) -> tuple[list[Passage], Sequence[float]]:
    passages = split(text, min(plan.size, max(plan.budget, SMALLEST)))
    return passages, density([passage.text for passage in passages], plan.method)


def outlined(text: str, outline: Outline) -> tuple[list[Passage], Sequence[float]]:
    """The passages of an outline without what they repeat of one another."""
    ends = [0, *outline.ends]
    spans = [
        (max(start, before), end)
        for start, end, before in zip(outline.starts, outline.ends, ends, strict=False)
    ]
    return [Passage(start, end, text[start:end]) for start, end in spans], outline.scores


def chosen(
    pieces: Sequence[str], order: Sequence[int], scores: Sequence[float], plan: Plan
) -> tuple[list[int], list[int]]:
    """The positions of the pieces that are kept word for word and of those to be summarised, in
    order: the opening and the densest in half of the budget, or in what the summaries of all others
    leave of it; then as many of the next as fit when they are summarised.
    """
    sizes = [len(piece) + len(OMITTED) for piece in pieces]
    used = 0.0
    others = EXPECTED * sum(sizes)
    kept: list[int] = []
    low: list[int] = []
    for at in order:
        others -= EXPECTED * sizes[at]
        room = plan.budget if at == 0 else max(plan.budget / 2, plan.budget - others)
        if (at == 0 or scores[at] > plan.threshold) and used + sizes[at] <= room:
            kept.append(at)
            used += sizes[at]
    there = set(kept)
    for at in order:
        if at not in there and len(low) < plan.most and used + EXPECTED * sizes[at] <= plan.budget:
            low.append(at)
            used += EXPECTED * sizes[at]
    return sorted(kept), sorted(low)


def worthwhile(pieces: Sequence[str], low: Sequence[int], length: int) -> list[int]:
    """Those at `low` that are still there, none when their summaries could not make the whole a
    tenth shorter.
    """
    there = [at for at in low if pieces[at]]
    saved = (1 - EXPECTED) * sum(len(pieces[at]) for at in there)
    return there if saved >= (1 - PROGRESS) * length else []


def shortened(pieces: Sequence[str], low: Sequence[int], summaries: Summaries) -> list[str]:
    """The pieces with those at `low` replaced by their summaries, where these are shorter."""
    shorter = list(pieces)
    for at, summary in zip(low, summaries, strict=True):
        if summary is not None and len(summary.strip()) < len(pieces[at]):
            shorter[at] = summary.strip()
    return shorter


def cut_down(pieces: Sequence[str], order: Sequence[int], budget: int) -> list[str]:
    """The pieces of which there is room, the first in this order first. The opening stays when it
    can: it says what the text is, and in a prompt what is to be done with it.
    """
    left = budget + len(OMITTED)
    fitting = set()
    for at in order:
        cost = len(pieces[at]) + len(OMITTED)
        if pieces[at] and cost <= left:
            left -= cost
            fitting.add(at)
    return [piece if at in fitting else "" for at, piece in enumerate(pieces)]


def joined(passages: Sequence[Passage], pieces: Sequence[str]) -> str:
    """The pieces as one text: neighbours as they stood, a summary on lines of its own, a mark where
    something is missing; an empty piece is not there.
    """
    there = [at for at, piece in enumerate(pieces) if piece]
    verbatim = [piece == passage.text for passage, piece in zip(passages, pieces, strict=True)]
    parts = [pieces[at] for at in there[:1]]
    for before, at in pairwise(there):
        if at > before + 1:
            parts.append(OMITTED)
        elif not (verbatim[before] and verbatim[at]):
            parts.append("\n")
        parts.append(pieces[at])
    return "".join(parts)
