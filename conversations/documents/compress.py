"""Shorten a text to a budget: keep the dense part word for word and in order.

`compress_text` takes a text and a `CompressionPlan` (its budget in characters) and returns
`CompressedText`, whose text is never longer than the budget; the other passages are for an index.
With a summariser, at least half of the budget is for the densest passages. As many of the others as
could then fit are replaced by their summaries, and these again by their summaries, as long as a
round makes the whole at least a tenth shorter (OpenKimi's rule). A round that cannot do so is not
begun. A text that is still too long is cut at passage borders, least dense first.
`compress_in_rounds` does the work: it is a generator that asks for summaries and does no I/O.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from conversations.documents.index_worker import Outline
from conversations.text.density import score_density
from conversations.text.split import PASSAGE_CHARS, Passage, split_passages

# another round follows only when the text is at most this share of its former length
PROGRESS_SHARE = 0.9
SUMMARY_SHARE = 0.5  # share of a passage's length that its summary is expected to have
OMISSION_MARK = "\n[…]\n"  # marks passages that were left out
LEAST_PIECE_CHARS = 100  # characters of a passage at least, however small the budget is
UNLIMITED_SUMMARIES = 1_000_000

SummaryTexts = Sequence[str | None]
SummaryRounds = Generator[list[str], SummaryTexts | None, "CompressedText"]


@dataclass(frozen=True, slots=True)
class CompressionPlan:
    """How to make a text fit into `budget_chars` characters.

    The passages have `passage_chars` characters and are scored by a `method` of density.METHODS.
    Passages that score at most `threshold` (0..1, relative to the document) are summarised where
    that is possible, with at most `most_summaries` summaries in all.
    """

    budget_chars: int
    passage_chars: int = PASSAGE_CHARS
    method: str = "weighted"
    threshold: float = 0.5
    most_summaries: int = UNLIMITED_SUMMARIES


@dataclass(frozen=True, slots=True)
class CompressedText:
    """A text within its budget.

    `verbatim_passages` and `other_passages` together are all passages of the whole text, each in
    order. The passages in `verbatim_passages` are in `text` word for word. Those in
    `other_passages` are not, or only as summaries, and belong in an index. `round_count` is how
    often the text was summarised; `has_all_summaries` is true when no summary failed.
    """

    text: str
    verbatim_passages: list[Passage]
    other_passages: list[Passage]
    round_count: int
    has_all_summaries: bool = True


async def compress_text(
    text: str,
    plan: CompressionPlan,
    summarise: Callable[[list[str]], Awaitable[SummaryTexts]],
    outline: Outline | None = None,
) -> CompressedText:
    """Shorten `text` to the plan's budget.

    `summarise` is awaited once a round; the rest of the work is done in a thread. It takes texts
    and returns as many summaries, in order. A summary that is no shorter is not used; an empty one
    drops its passage; None is a failed one, after which no more are asked for. With the text's
    `outline`, the text is not divided and scored again. Raises ValueError for a negative budget or
    a wrong number of summaries.
    """
    work = compress_in_rounds(text, plan, outline)
    made = await asyncio.to_thread(advance_rounds, work, None)
    while isinstance(made, list):
        made = await asyncio.to_thread(advance_rounds, work, await summarise(made))
    return made


def advance_rounds(
    work: SummaryRounds, summaries: SummaryTexts | None
) -> list[str] | CompressedText:
    """Return the next texts to be summarised, or the result."""
    try:
        return work.send(summaries)
    except StopIteration as done:
        fitted: CompressedText = done.value
        return fitted


def compress_in_rounds(
    text: str, plan: CompressionPlan, outline: Outline | None = None
) -> SummaryRounds:
    """Yield the texts of each round of summaries; return the fitted text.

    Each `yield` is sent as many summaries, or None when there are none. A text within its budget is
    returned at once, unchanged. Raises ValueError for a negative budget.
    """
    if plan.budget_chars < 0:
        raise ValueError("the budget is at least 0 characters")
    passages, scores = (
        split_and_score(text, plan) if outline is None else slice_outlined_passages(text, outline)
    )
    if len(text) <= plan.budget_chars:
        return CompressedText(text, passages, [], 0)
    whole = [passage.text for passage in passages]
    order = sorted(range(len(whole)), key=lambda at: (at > 0, -scores[at], at))
    kept, low = choose_pieces(whole, order, scores, plan)
    first = {*kept, *low}
    pieces = [piece if at in first else "" for at, piece in enumerate(whole)]
    done = 0
    left = plan.most_summaries
    length = len(join_pieces(passages, pieces))
    complete = True
    while low := select_worthwhile(pieces, low[:left], length):
        summaries = yield [pieces[at] for at in low]
        if summaries is None:
            break
        pieces = replace_by_summaries(pieces, low, summaries)
        complete = None not in summaries
        done = done + 1
        left = left - len(low)
        before = length
        length = len(join_pieces(passages, pieces))
        if length <= plan.budget_chars or length > PROGRESS_SHARE * before or not complete:
            break
    if all(pieces[at] == whole[at] for at in first):
        first = set()  # no passage became shorter
    pieces = [piece if at in first else whole[at] for at, piece in enumerate(pieces)]
    pieces = keep_fitting_pieces(
        pieces, sorted(order, key=lambda at: at > 0 and at not in first), plan.budget_chars
    )
    same = [piece == passage.text for passage, piece in zip(passages, pieces, strict=True)]
    verbatim = [passage for passage, stands in zip(passages, same, strict=True) if stands]
    rest = [passage for passage, stands in zip(passages, same, strict=True) if not stands]
    return CompressedText(join_pieces(passages, pieces), verbatim, rest, done, complete)


def split_and_score(text: str, plan: CompressionPlan) -> tuple[list[Passage], Sequence[float]]:
    passages = split_passages(
        text, min(plan.passage_chars, max(plan.budget_chars, LEAST_PIECE_CHARS))
    )
    return passages, score_density([passage.text for passage in passages], plan.method)


def slice_outlined_passages(text: str, outline: Outline) -> tuple[list[Passage], Sequence[float]]:
    """Return the passages of an outline without their overlaps, and their scores."""
    ends = [0, *outline.ends]
    spans = [
        (max(start, before), end)
        for start, end, before in zip(outline.starts, outline.ends, ends, strict=False)
    ]
    return [Passage(start, end, text[start:end]) for start, end in spans], outline.scores


def choose_pieces(
    pieces: Sequence[str], order: Sequence[int], scores: Sequence[float], plan: CompressionPlan
) -> tuple[list[int], list[int]]:
    """Return the positions of the pieces to keep word for word, and of those to summarise.

    Both are in order. Kept are the opening and the densest pieces, in half of the budget or in more
    when the summaries of all others leave more. Then as many of the next pieces are summarised as
    fit.
    """
    sizes = [len(piece) + len(OMISSION_MARK) for piece in pieces]
    used = 0.0
    others = SUMMARY_SHARE * sum(sizes)
    kept: list[int] = []
    low: list[int] = []
    for at in order:
        others -= SUMMARY_SHARE * sizes[at]
        room = (
            plan.budget_chars if at == 0 else max(plan.budget_chars / 2, plan.budget_chars - others)
        )
        if (at == 0 or scores[at] > plan.threshold) and used + sizes[at] <= room:
            kept.append(at)
            used += sizes[at]
    there = set(kept)
    for at in order:
        if (
            at not in there
            and len(low) < plan.most_summaries
            and used + SUMMARY_SHARE * sizes[at] <= plan.budget_chars
        ):
            low.append(at)
            used += SUMMARY_SHARE * sizes[at]
    return sorted(kept), sorted(low)


def select_worthwhile(
    pieces: Sequence[str], positions: Sequence[int], total_chars: int
) -> list[int]:
    """Return the positions of `positions` that are not empty yet.

    None of them when their summaries could not make the whole a tenth shorter.
    """
    there = [at for at in positions if pieces[at]]
    saved = (1 - SUMMARY_SHARE) * sum(len(pieces[at]) for at in there)
    return there if saved >= (1 - PROGRESS_SHARE) * total_chars else []


def replace_by_summaries(
    pieces: Sequence[str], positions: Sequence[int], summaries: SummaryTexts
) -> list[str]:
    """Return the pieces; at `positions` their summaries replace them if these are shorter."""
    shorter = list(pieces)
    for at, summary in zip(positions, summaries, strict=True):
        if summary is not None and len(summary.strip()) < len(pieces[at]):
            shorter[at] = summary.strip()
    return shorter


def keep_fitting_pieces(
    pieces: Sequence[str], order: Sequence[int], budget_chars: int
) -> list[str]:
    """Return the pieces that fit into the budget, first in `order` first; the others are empty.

    The opening stays if it fits: it tells what the text is, and in a prompt what to do with it.
    """
    left = budget_chars + len(OMISSION_MARK)
    fitting = set()
    for at in order:
        cost = len(pieces[at]) + len(OMISSION_MARK)
        if pieces[at] and cost <= left:
            left -= cost
            fitting.add(at)
    return [piece if at in fitting else "" for at, piece in enumerate(pieces)]


def join_pieces(passages: Sequence[Passage], pieces: Sequence[str]) -> str:
    """Join the pieces to one text.

    Neighbours are joined as they were, a summary gets lines of its own, and a mark stands for
    missing passages. Empty pieces are missing.
    """
    there = [at for at, piece in enumerate(pieces) if piece]
    verbatim = [piece == passage.text for passage, piece in zip(passages, pieces, strict=True)]
    parts = [pieces[at] for at in there[:1]]
    for before, at in pairwise(there):
        if at > before + 1:
            parts.append(OMISSION_MARK)
        elif not (verbatim[before] and verbatim[at]):
            parts.append("\n")
        parts.append(pieces[at])
    return "".join(parts)
