"""Shorten a text to a budget: keep the dense part word for word and in order.

`acompress` takes a text and a `Plan` (its budget in characters) and returns `Fitted`, whose text is
never longer than the budget; the other passages are for an index. With a summariser, at least half
of the budget is for the densest passages. As many of the others as could then fit are replaced by
their summaries, and these again by their summaries, as long as a round makes the whole at least a
tenth shorter (OpenKimi's rule). A round that cannot do so is not begun. A text that is still too
long is cut at passage borders, least dense first. `rounds` does the work: it is a generator that
asks for summaries and does no I/O.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from conversations.documents.index_worker import Outline
from conversations.text.density import density
from conversations.text.split import SIZE, Passage, split

# another round follows only when the text is at most this share of its former length
PROGRESS = 0.9
EXPECTED = 0.5  # share of a passage's length that its summary is expected to have
OMITTED = "\n[…]\n"  # marks passages that were left out
SMALLEST = 100  # characters of a passage at least, however small the budget is
MANY = 1_000_000

Summaries = Sequence[str | None]
Rounds = Generator[list[str], Summaries | None, "Fitted"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to make a text fit into `budget` characters.

    The passages have `size` characters and are scored by a `method` of density.METHODS. Passages
    that score at most `threshold` (0..1, relative to the document) are summarised where that is
    possible, with at most `most` summaries in all.
    """

    budget: int
    size: int = SIZE
    method: str = "weighted"
    threshold: float = 0.5
    most: int = MANY


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text within its budget.

    `kept` and `rest` together are all passages of the whole text, each in order. The passages in
    `kept` are in `text` word for word. Those in `rest` are not, or only as summaries, and belong in
    an index. `rounds` is how often the text was summarised; `whole` is true when no summary failed.
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
    """Shorten `text` to the plan's budget.

    `summarise` is awaited once a round; the rest of the work is done in a thread. It takes texts
    and returns as many summaries, in order. A summary that is no shorter is not used; an empty one
    drops its passage; None is a failed one, after which no more are asked for. With the text's
    `outline`, the text is not divided and scored again. Raises ValueError for a negative budget or
    a wrong number of summaries.
    """
    work = rounds(text, plan, outline)
    made = await asyncio.to_thread(advanced, work, None)
    while isinstance(made, list):
        made = await asyncio.to_thread(advanced, work, await summarise(made))
    return made


def advanced(work: Rounds, answers: Summaries | None) -> list[str] | Fitted:
    """Return the next texts to be summarised, or the result."""
    try:
        return work.send(answers)
    except StopIteration as done:
        fitted: Fitted = done.value
        return fitted


def rounds(text: str, plan: Plan, outline: Outline | None = None) -> Rounds:
    """Yield the texts of each round of summaries; return the fitted text.

    Each `yield` is sent as many summaries, or None when there are none. A text within its budget is
    returned at once, unchanged. Raises ValueError for a negative budget.
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
        first = set()  # no passage became shorter
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
    """Return the passages of an outline without their overlaps, and their scores."""
    ends = [0, *outline.ends]
    spans = [
        (max(start, before), end)
        for start, end, before in zip(outline.starts, outline.ends, ends, strict=False)
    ]
    return [Passage(start, end, text[start:end]) for start, end in spans], outline.scores


def chosen(
    pieces: Sequence[str], order: Sequence[int], scores: Sequence[float], plan: Plan
) -> tuple[list[int], list[int]]:
    """Return the positions of the pieces to keep word for word, and of those to summarise.

    Both are in order. Kept are the opening and the densest pieces, in half of the budget or in more
    when the summaries of all others leave more. Then as many of the next pieces are summarised as
    fit.
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
    """Return the positions of `low` that are not empty yet.

    None of them when their summaries could not make the whole a tenth shorter.
    """
    there = [at for at in low if pieces[at]]
    saved = (1 - EXPECTED) * sum(len(pieces[at]) for at in there)
    return there if saved >= (1 - PROGRESS) * length else []


def shortened(pieces: Sequence[str], low: Sequence[int], summaries: Summaries) -> list[str]:
    """Return the pieces, with those at `low` replaced by their summaries if these are shorter."""
    shorter = list(pieces)
    for at, summary in zip(low, summaries, strict=True):
        if summary is not None and len(summary.strip()) < len(pieces[at]):
            shorter[at] = summary.strip()
    return shorter


def cut_down(pieces: Sequence[str], order: Sequence[int], budget: int) -> list[str]:
    """Return the pieces that fit into the budget, first in `order` first; the others are empty.

    The opening stays if it fits: it tells what the text is, and in a prompt what to do with it.
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
    """Join the pieces to one text.

    Neighbours are joined as they were, a summary gets lines of its own, and a mark stands for
    missing passages. Empty pieces are missing.
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
