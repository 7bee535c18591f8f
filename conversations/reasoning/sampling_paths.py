"""Sampling and synthesis of the `multipath` strategy. No I/O.

Sampling picks for each candidate the passage of the caller's texts that it starts from; where there
is but one passage, an angle on the question. Synthesis merges the candidates by paragraphs and
sentences; fenced code is one paragraph and never divided. Texts are compared by their terms
(`conversations/text/terms.py`).
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from conversations.text.density import shannon_entropy
from conversations.text.split import split_passages, split_sentences
from conversations.text.terms import extract_terms

MAX_CANDIDATES = 8
CandidateCount = Annotated[int, Meta(ge=1, le=MAX_CANDIDATES)]
PASSAGE_CHARS = 1_500
MIN_LIKENESS = 0.5  # share of common terms from which two texts count as the same

FRAMEWORK_PROMPT = """\
Before anybody answers the question above, plan the answer. Write briefly, in the \
language of the question: what exactly is asked; what decides the answer; the steps that lead to \
it, in order; what is hard about it; how to recognise a good answer. Do not answer the question \
itself."""
CANDIDATE_PROMPT = "Answer the question above, completely and for its reader."
PLAN_PROMPT = "This plan was made for it; leave it where it is wrong:\n\n{plan}"
PASSAGE_PROMPT = (
    "Start from this passage of what you were given, and check the rest against it:\n\n{passage}"
)
SYNTHESIS_PROMPT = """Here are {count} independent drafts of an answer to the question above.

{drafts}

Write the one best answer. Keep what is right and useful in each draft; where they disagree find \
out which is right, and say so if it cannot be known; leave out what is wrong or said twice. \
Answer in the form and language that the question asks for, and do not speak of drafts."""
ANGLES = (
    "Work forward from the facts that are given, one inference at a time.",
    "Start from what a complete answer would have to contain, and work backwards to it.",
    "First think of the answer most people would give, and look for where it fails.",
    "Take a concrete example, follow it through, and generalise from it.",
    "Compare at least two different methods or positions before you choose.",
    "Look at edge cases, exceptions and hidden assumptions first.",
    "Explain it from first principles, as if nothing were known of it.",
    "Think of who uses the answer: what must they do, and what could go wrong?",
)


class Options(Struct, frozen=True):
    """The options of `multipath` in a VirtualModel row."""

    candidates: CandidateCount = 3  # 1: the question is asked once
    framework: bool | None = None  # plan first; None: when there are several candidates
    sampling: Literal["random", "entropy", "relevance", "diversity"] = "diversity"
    synthesis: Literal["model", "majority", "weighted", "hierarchical", "consensus"] = "model"
    max_calls: Annotated[int, Meta(ge=1, le=100)] = 30  # upstream calls in all, retries included
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None  # of the candidates
    # used where the caller sets none
    final_temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    candidate_tokens: Annotated[int, Meta(ge=64, le=32_768)] | None = None
    show_candidates: bool = False  # in the answer's field of that name

    @property
    def wants_plan(self) -> bool:
        return self.candidates > 1 if self.framework is None else self.framework


# --- terms ----------------------------------------------------------------------------------------
FENCE = re.compile(r" {0,3}(```|~~~)")


def measure_likeness(first: set[str], second: set[str]) -> float:
    """Return the share of terms that two texts have in common (Jaccard index)."""
    return len(first & second) / len(first | second) if first | second else 0.0


def measure_entropy(text: str) -> float:
    """Return the entropy of a text's terms in bits: how varied they are."""
    counts = Counter(extract_terms(text))
    return shannon_entropy(counts.values(), counts.total())


def split_paragraphs(text: str) -> list[str]:
    """Split an answer at blank lines outside fenced code."""
    found: list[list[str]] = [[]]
    fence = ""
    for line in text.splitlines():
        mark = FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        if not fence and not mark and not line.strip():
            found.append([])
        else:
            found[-1].append(line)
    return ["\n".join(lines) for lines in found if lines]


def list_sentences(paragraph: str) -> list[str]:
    """List the sentences of a paragraph; one of several lines (code, a list, a table) is one."""
    return [paragraph] if "\n" in paragraph else split_sentences(paragraph)


# --- sampling -------------------------------------------------------------------------------------
def list_passages(text: str) -> list[str]:
    """Split a text into passages of up to PASSAGE_CHARS characters."""
    passages = (passage.text.strip() for passage in split_passages(text, PASSAGE_CHARS))
    return [passage for passage in passages if passage]


def sample_passages(
    strategy: str, passages: Sequence[str], question: str, count: int, rng: random.Random
) -> list[str]:
    """Choose `count` passages by `strategy`, different ones while there are enough."""
    if not passages:
        return []
    chosen = SAMPLERS[strategy](list(passages), question, min(count, len(passages)), rng)
    return [chosen[at % len(chosen)] for at in range(count)]


def choose_by_chance(
    passages: list[str], question: str, count: int, rng: random.Random
) -> list[str]:
    """Choose passages at random."""
    return rng.sample(passages, count)


def choose_by_entropy(
    passages: list[str], question: str, count: int, rng: random.Random
) -> list[str]:
    """Choose the passages with the most varied terms."""
    return sorted(passages, key=measure_entropy, reverse=True)[:count]


def choose_by_relevance(
    passages: list[str], question: str, count: int, rng: random.Random
) -> list[str]:
    """Choose the passages that have the most terms of the question."""
    asked = set(extract_terms(question))
    common = [len(asked.intersection(extract_terms(passage))) for passage in passages]
    best_first = sorted(range(len(passages)), key=common.__getitem__, reverse=True)
    return [passages[number] for number in best_first[:count]]


def choose_by_diversity(
    passages: list[str], question: str, count: int, rng: random.Random
) -> list[str]:
    """Choose the first at random, then each time the passage that is least like the chosen ones."""
    left = [(passage, set(extract_terms(passage))) for passage in passages]
    chosen = [left.pop(rng.randrange(len(left)))]
    while left and len(chosen) < count:
        nearest = [max(measure_likeness(known, other) for _, other in chosen) for _, known in left]
        chosen.append(left.pop(nearest.index(min(nearest))))
    return [passage for passage, _ in chosen]


SAMPLERS: dict[str, Callable[[list[str], str, int, random.Random], list[str]]] = {
    "random": choose_by_chance,
    "entropy": choose_by_entropy,
    "relevance": choose_by_relevance,
    "diversity": choose_by_diversity,
}


# --- synthesis ------------------------------------------------------------------------------------
def merge_texts(strategy: str, texts: Sequence[str]) -> str:
    """Merge several texts into one by `strategy` (not "model"); a single one stays as it is."""
    texts = [text.strip() for text in texts if text.strip()]
    if len(texts) < 2:
        return "".join(texts)
    return MERGERS[strategy](texts)


def measure_agreement(items: Sequence[str]) -> list[float]:
    """Return how much each item is like the others, on average."""
    known = [set(extract_terms(item)) for item in items]
    others = max(1, len(items) - 1)
    return [
        sum(measure_likeness(mine, other) for at, other in enumerate(known) if at != own) / others
        for own, mine in enumerate(known)
    ]


def elect_items(rows: Sequence[Sequence[str]], weights: Sequence[float], separator: str) -> str:
    """Return at each position the item with the most support, joined by `separator`.

    Support is an item's likeness to the others, times its text's weight. A position that fewer than
    half of the texts have is left out.
    """
    chosen: list[str] = []
    for position in range(max(map(len, rows))):
        there = [
            (row[position], weight)
            for row, weight in zip(rows, weights, strict=True)
            if position < len(row)
        ]
        if len(there) * 2 < len(rows):
            break
        support = measure_agreement([item for item, _ in there])
        votes = [(1 + vote) * weight for vote, (_, weight) in zip(support, there, strict=True)]
        best = there[votes.index(max(votes))][0]
        if best not in chosen:
            chosen.append(best)
    return separator.join(chosen)


def merge_by_majority(texts: Sequence[str]) -> str:
    """Take at each position the paragraph that the others agree with most."""
    return elect_items([split_paragraphs(text) for text in texts], [1.0] * len(texts), "\n\n")


def merge_by_weight(texts: Sequence[str]) -> str:
    """Take at each position of each paragraph the sentence with the most support.

    A text weighs as much as the others agree with it.
    """
    weights = [0.1 + share for share in measure_agreement(texts)]
    rows = [split_paragraphs(text) for text in texts]
    merged: list[str] = []
    for position in range(max(map(len, rows))):
        there = [
            (row[position], weight)
            for row, weight in zip(rows, weights, strict=True)
            if position < len(row)
        ]
        if len(there) * 2 < len(rows):
            break
        parts = [list_sentences(paragraph) for paragraph, _ in there]
        dense = any(char >= "\u2e80" for char in there[0][0][-1:])
        merged.append(elect_items(parts, [weight for _, weight in there], "" if dense else " "))
    return "\n\n".join(merged)


def merge_by_hierarchy(texts: Sequence[str]) -> str:
    """Arrange the paragraphs as overview, details and recommendations; each thing once.

    First paragraphs are the overview, last ones the recommendations, all others the details.
    """
    rows = [split_paragraphs(text) for text in texts]
    parts = (
        ("Overview", [row[0] for row in rows]),
        ("Details", [paragraph for row in rows for paragraph in row[1:-1]]),
        ("Recommendations", [row[-1] for row in rows if len(row) > 1]),
    )
    told: list[str] = []
    merged = []
    for title, items in parts:
        new = [item for item in items if add_if_novel(item, told)]
        if new:
            merged.append("\n\n".join([f"## {title}", *new]))
    return "\n\n".join(merged)


def merge_by_consensus(texts: Sequence[str]) -> str:
    """Take all paragraphs, each thing once, first those that several texts have."""
    rows = [
        [(paragraph, set(extract_terms(paragraph))) for paragraph in split_paragraphs(text)]
        for text in texts
    ]
    every = [
        (
            sum(
                any(measure_likeness(known, other) >= MIN_LIKENESS for _, other in row)
                for row in rows
            )
            > 1,
            paragraph,
        )
        for row in rows
        for paragraph, known in row
    ]
    told: list[str] = []
    ordered = sorted(every, key=lambda entry: not entry[0])
    return "\n\n".join(paragraph for _, paragraph in ordered if add_if_novel(paragraph, told))


def add_if_novel(item: str, known_items: list[str]) -> bool:
    """Return whether nothing like `item` is in `known_items`, and add it to `known_items` if so."""
    mine = set(extract_terms(item))
    if any(
        item == other or measure_likeness(mine, set(extract_terms(other))) >= MIN_LIKENESS
        for other in known_items
    ):
        return False
    known_items.append(item)
    return True


MERGERS: dict[str, Callable[[Sequence[str]], str]] = {
    "majority": merge_by_majority,
    "weighted": merge_by_weight,
    "hierarchical": merge_by_hierarchy,
    "consensus": merge_by_consensus,
}
