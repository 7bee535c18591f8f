"""Merge several drafts of an answer by rules, by their paragraphs and sentences. No I/O.

Fenced code is one paragraph and never divided.
"""

import re
from collections.abc import Callable, Sequence

from conversations.strategies.multipath.term_likeness import MIN_LIKENESS, measure_likeness
from conversations.text.split import split_sentences
from conversations.text.terms import extract_terms

FENCE = re.compile(r" {0,3}(```|~~~)")
FIRST_CJK_CHAR = "\u2e80"  # sentences of these scripts follow each other without a space


def merge_texts(method: str, texts: Sequence[str]) -> str:
    """Merge several texts into one by a method of MERGERS; a single one stays as it is."""
    texts = [text.strip() for text in texts if text.strip()]
    if len(texts) < 2:
        return "".join(texts)
    return MERGERS[method](texts)


def measure_agreement(texts: Sequence[str]) -> list[float]:
    """Return how much each text is like the others, on average."""
    term_sets = [set(extract_terms(text)) for text in texts]
    other_count = max(1, len(texts) - 1)
    return [
        sum(
            measure_likeness(terms, other_terms)
            for other, other_terms in enumerate(term_sets)
            if other != own
        )
        / other_count
        for own, terms in enumerate(term_sets)
    ]


def list_column(
    rows: Sequence[Sequence[str]], weights: Sequence[float], position: int
) -> list[tuple[str, float]]:
    """Return the items at a position of the rows, each with the weight of its row.

    The list is empty when fewer than half of the rows have an item there.
    """
    column = [
        (row[position], weight)
        for row, weight in zip(rows, weights, strict=True)
        if position < len(row)
    ]
    return column if len(column) * 2 >= len(rows) else []


def elect_items(rows: Sequence[Sequence[str]], weights: Sequence[float], separator: str) -> str:
    """Return at each position the item with the most support, joined by `separator`.

    Support is an item's likeness to the others, times its text's weight. A position that fewer than
    half of the texts have is left out.
    """
    elected: list[str] = []
    position = 0
    while column := list_column(rows, weights, position):
        best = elect_item(column)
        if best not in elected:
            elected.append(best)
        position += 1
    return separator.join(elected)


def elect_item(column: Sequence[tuple[str, float]]) -> str:
    """Return the item with the most support of a column of items and weights."""
    agreement = measure_agreement([item for item, _ in column])
    votes = [(1 + share) * weight for share, (_, weight) in zip(agreement, column, strict=True)]
    return column[votes.index(max(votes))][0]


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
    while column := list_column(rows, weights, len(merged)):
        sentence_rows = [list_sentences(paragraph) for paragraph, _ in column]
        separator = choose_separator(column[0][0])
        merged.append(elect_items(sentence_rows, [weight for _, weight in column], separator))
    return "\n\n".join(merged)


def choose_separator(paragraph: str) -> str:
    """Return the separator of two sentences in the script of the paragraph's end."""
    return "" if paragraph[-1:] >= FIRST_CJK_CHAR else " "


def merge_by_hierarchy(texts: Sequence[str]) -> str:
    """Arrange the paragraphs as overview, details and recommendations; each thing once.

    First paragraphs are the overview, last ones the recommendations, all others the details.
    """
    rows = [split_paragraphs(text) for text in texts]
    sections = {
        "Overview": [row[0] for row in rows],
        "Details": [paragraph for row in rows for paragraph in row[1:-1]],
        "Recommendations": [row[-1] for row in rows if len(row) > 1],
    }
    used: list[str] = []
    merged = []
    for title, paragraphs in sections.items():
        novel = [paragraph for paragraph in paragraphs if add_if_novel(paragraph, used)]
        if novel:
            merged.append("\n\n".join([f"## {title}", *novel]))
    return "\n\n".join(merged)


def merge_by_consensus(texts: Sequence[str]) -> str:
    """Take all paragraphs, each thing once, first those that several texts have."""
    rows = [split_paragraphs(text) for text in texts]
    term_rows = [[set(extract_terms(paragraph)) for paragraph in row] for row in rows]
    shared: list[str] = []
    single: list[str] = []
    for row, terms_of_row in zip(rows, term_rows, strict=True):
        for paragraph, terms in zip(row, terms_of_row, strict=True):
            is_shared = sum(has_similar(terms, other) for other in term_rows) > 1
            (shared if is_shared else single).append(paragraph)
    used: list[str] = []
    return "\n\n".join(
        paragraph for paragraph in [*shared, *single] if add_if_novel(paragraph, used)
    )


def has_similar(terms: set[str], term_sets: Sequence[set[str]]) -> bool:
    """Return whether one of the sets of terms counts as the same text as `terms`."""
    return any(measure_likeness(terms, other) >= MIN_LIKENESS for other in term_sets)


def add_if_novel(text: str, known_texts: list[str]) -> bool:
    """Add a text to `known_texts` unless something like it is there; return whether it is new."""
    if text in known_texts:
        return False
    if has_similar(set(extract_terms(text)), [set(extract_terms(known)) for known in known_texts]):
        return False
    known_texts.append(text)
    return True


def split_paragraphs(text: str) -> list[str]:
    """Split an answer at blank lines outside fenced code."""
    paragraphs: list[list[str]] = [[]]
    open_fence = ""
    for line in text.splitlines():
        fence = FENCE.match(line)
        if fence and open_fence in ("", fence[1]):
            open_fence = "" if open_fence else fence[1]
        if not open_fence and not fence and not line.strip():
            paragraphs.append([])
        else:
            paragraphs[-1].append(line)
    return ["\n".join(lines) for lines in paragraphs if lines]


def list_sentences(paragraph: str) -> list[str]:
    """List the sentences of a paragraph; one of several lines (code, a list, a table) is one."""
    return [paragraph] if "\n" in paragraph else split_sentences(paragraph)


MERGERS: dict[str, Callable[[Sequence[str]], str]] = {
    "majority": merge_by_majority,
    "weighted": merge_by_weight,
    "hierarchical": merge_by_hierarchy,
    "consensus": merge_by_consensus,
}
