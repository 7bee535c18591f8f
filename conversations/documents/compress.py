"""Shorten a text to a budget: keep the dense part word for word and in order.

`compress_text` takes a text and a `CompressionPlan` (its budget in characters) and returns
`CompressedText`, whose text is never longer than the budget.

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

    `round_count` is how often the text was summarised; `has_all_summaries` is true when no summary
    failed.
    """

    text: str
    round_count: int = 0
    has_all_summaries: bool = True


@dataclass(slots=True)
class Draft:
    """A text while it is shortened: one piece for each passage.

    A piece is the passage's text, a summary of it, or empty: then the passage is left out. Pieces
    have the numbers of their passages.
    """

    passages: Sequence[Passage]
    pieces: list[str]
    round_count: int = 0
    has_all_summaries: bool = True

    def is_verbatim(self, number: int) -> bool:
        return self.pieces[number] == self.passages[number].text

    def select_worthwhile(self, numbers: Sequence[int], total_chars: int) -> list[int]:
        """Return those of the pieces that are not empty.

        None of them when their summaries could not make the whole a tenth shorter.
        """
        filled = [number for number in numbers if self.pieces[number]]
        saved_chars = (1 - SUMMARY_SHARE) * sum(len(self.pieces[number]) for number in filled)
        return filled if saved_chars >= (1 - PROGRESS_SHARE) * total_chars else []

    def replace_by_summaries(self, numbers: Sequence[int], summaries: SummaryTexts) -> None:
        """Replace these pieces by their summaries if these are shorter."""
        for number, summary in zip(numbers, summaries, strict=True):
            if summary is not None and len(summary.strip()) < len(self.pieces[number]):
                self.pieces[number] = summary.strip()
        self.round_count += 1
        self.has_all_summaries = None not in summaries

    def keep_fitting_pieces(self, order: Sequence[int], budget_chars: int) -> None:
        """Empty the pieces that do not fit into the budget; the first in `order` are kept first."""
        room = budget_chars + len(OMISSION_MARK)
        for number in order:
            cost = len(self.pieces[number]) + len(OMISSION_MARK)
            if cost <= room and self.pieces[number]:
                room -= cost
            else:
                self.pieces[number] = ""

    def join_pieces(self) -> str:
        """Join the pieces to one text.

        Neighbours are joined as they were, a summary gets lines of its own, and a mark stands for
        missing passages.
        """
        filled = [number for number, piece in enumerate(self.pieces) if piece]
        parts = [self.pieces[number] for number in filled[:1]]
        for previous, number in pairwise(filled):
            if number > previous + 1:
                parts.append(OMISSION_MARK)
            elif not (self.is_verbatim(previous) and self.is_verbatim(number)):
                parts.append("\n")
            parts.append(self.pieces[number])
        return "".join(parts)


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
    rounds = compress_in_rounds(text, plan, outline)
    progress = await asyncio.to_thread(advance_rounds, rounds, None)
    while isinstance(progress, list):
        progress = await asyncio.to_thread(advance_rounds, rounds, await summarise(progress))
    return progress


def advance_rounds(
    rounds: SummaryRounds, summaries: SummaryTexts | None
) -> list[str] | CompressedText:
    """Return the next texts to be summarised, or the result."""
    try:
        return rounds.send(summaries)
    except StopIteration as end:
        compressed: CompressedText = end.value
        return compressed


def compress_in_rounds(
    text: str, plan: CompressionPlan, outline: Outline | None = None
) -> SummaryRounds:
    """Yield the texts of each round of summaries; return the compressed text.

    Each `yield` is sent as many summaries, or None when there are none. A text within its budget is
    returned at once, unchanged. Raises ValueError for a negative budget.
    """
    if plan.budget_chars < 0:
        raise ValueError("the budget is at least 0 characters")
    if len(text) <= plan.budget_chars:
        return CompressedText(text)
    if outline is None:
        passages, scores = split_and_score(text, plan)
    else:
        passages, scores = slice_outlined_passages(text, outline)
    order = sorted(range(len(passages)), key=lambda number: (number > 0, -scores[number], number))
    sizes = [len(passage.text) + len(OMISSION_MARK) for passage in passages]
    verbatim = choose_verbatim(sizes, order, scores, plan)
    to_summarise = choose_to_summarise(sizes, order, verbatim, plan)
    chosen = verbatim | set(to_summarise)
    draft = Draft(
        passages,
        [passage.text if number in chosen else "" for number, passage in enumerate(passages)],
    )
    yield from summarise_in_rounds(draft, to_summarise, plan)
    cut_draft(draft, chosen, order, plan.budget_chars)
    return CompressedText(draft.join_pieces(), draft.round_count, draft.has_all_summaries)


def summarise_in_rounds(
    draft: Draft, numbers: Sequence[int], plan: CompressionPlan
) -> Generator[list[str], SummaryTexts | None, None]:
    """Yield these pieces to be summarised, again and again; put the summaries into the draft.

    The last round is the one after which the draft fits, or that made it hardly shorter, or in
    which a summary failed.
    """
    summaries_left = plan.most_summaries
    total_chars = len(draft.join_pieces())
    while numbers := draft.select_worthwhile(numbers[:summaries_left], total_chars):
        summaries = yield [draft.pieces[number] for number in numbers]
        if summaries is None:
            return
        draft.replace_by_summaries(numbers, summaries)
        summaries_left -= len(numbers)
        useful_chars = PROGRESS_SHARE * total_chars
        total_chars = len(draft.join_pieces())
        is_short = total_chars <= plan.budget_chars
        if is_short or total_chars > useful_chars or not draft.has_all_summaries:
            return


def cut_draft(draft: Draft, chosen: set[int], order: Sequence[int], budget_chars: int) -> None:
    """Fill the draft with the passages left out so far, then cut it to the budget.

    The opening is kept first if it fits: it tells what the text is, and in a prompt what to do with
    it. Then come the chosen pieces, if any of them is a summary, and then the densest.
    """
    if all(draft.is_verbatim(number) for number in chosen):
        chosen = set()
    for number, passage in enumerate(draft.passages):
        if number not in chosen:
            draft.pieces[number] = passage.text
    chosen_first = sorted(order, key=lambda number: number > 0 and number not in chosen)
    draft.keep_fitting_pieces(chosen_first, budget_chars)


def split_and_score(text: str, plan: CompressionPlan) -> tuple[list[Passage], Sequence[float]]:
    """Return the passages of a text and their scores."""
    passage_chars = min(plan.passage_chars, max(plan.budget_chars, LEAST_PIECE_CHARS))
    passages = split_passages(text, passage_chars)
    return passages, score_density([passage.text for passage in passages], plan.method)


def slice_outlined_passages(text: str, outline: Outline) -> tuple[list[Passage], Sequence[float]]:
    """Return the passages of an outline without their overlaps, and their scores."""
    passages: list[Passage] = []
    previous_end = 0
    for outlined_start, end in zip(outline.starts, outline.ends, strict=True):
        start = max(outlined_start, previous_end)
        passages.append(Passage(start, end, text[start:end]))
        previous_end = end
    return passages, outline.scores


def choose_verbatim(
    sizes: Sequence[int], order: Sequence[int], scores: Sequence[float], plan: CompressionPlan
) -> set[int]:
    """Return the numbers of the pieces to keep word for word: the opening and the densest.

    They get half of the budget, or more when the summaries of all others leave more.
    """
    verbatim: set[int] = set()
    used_chars = 0
    summary_chars = SUMMARY_SHARE * sum(sizes)  # of the pieces that come later in the order
    for number in order:
        summary_chars -= SUMMARY_SHARE * sizes[number]
        dense_room = max(plan.budget_chars / 2, plan.budget_chars - summary_chars)
        if number == 0:
            is_kept = sizes[number] <= plan.budget_chars
        else:
            is_kept = scores[number] > plan.threshold and used_chars + sizes[number] <= dense_room
        if is_kept:
            verbatim.add(number)
            used_chars += sizes[number]
    return verbatim


def choose_to_summarise(
    sizes: Sequence[int], order: Sequence[int], verbatim: set[int], plan: CompressionPlan
) -> list[int]:
    """Return the numbers of the pieces to summarise, in order: as many of the next as fit."""
    to_summarise: list[int] = []
    used_chars: float = sum(sizes[number] for number in verbatim)
    for number in order:
        if len(to_summarise) >= plan.most_summaries:
            break
        expected_chars = SUMMARY_SHARE * sizes[number]
        if number not in verbatim and used_chars + expected_chars <= plan.budget_chars:
            to_summarise.append(number)
            used_chars += expected_chars
    return sorted(to_summarise)
