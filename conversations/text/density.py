"""Score how dense each passage is, compared with the other passages of its document.

The score is 0..1 with 0.5 as the middle: the share of the document's other passages that are less
dense (a rank; equal passages share their places). So 0.7 means the same in a novel and in a data
sheet, and a threshold divides any text; scores of different documents cannot be compared. The
methods have OpenKimi's names: `score_words` (how varied the words are), `score_ngrams` (how varied
the pairs of characters are), `score_semantics` (how near the rare words are to the subject of the
document, TF-IDF), `score_structure` (how varied sentences and punctuation are), `weighted` (all
four). Pure Python; the work is proportional to the length.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log, log2, sqrt
from operator import add
from statistics import median

from conversations.text.split import FULL_STOPS
from conversations.text.terms import extract_terms

WEIGHTS = {"word": 0.3, "ngram": 0.2, "semantic": 0.3, "structural": 0.2}
METHODS = (*WEIGHTS, "weighted")
SENTENCE_ENDS = re.compile(rf"[.!?…\n{FULL_STOPS}]")
PUNCTUATION = re.compile(r"[^\w\s]")
MOST_REPEATS = 1000  # the count of one term in one passage is limited to this
REPEAT_WEIGHTS = (0.0, *(1 + log(times) for times in range(1, MOST_REPEATS + 1)))
SENTENCES_SHARE = 0.7  # of the structural score; the rest is punctuation

PassageTerms = Sequence[Sequence[str]]
TermPositions = Mapping[str, Sequence[int]]


def score_density(
    passages: Sequence[str],
    method: str = "weighted",
    passage_terms: PassageTerms | None = None,
    term_positions: TermPositions | None = None,
) -> list[float]:
    """Return one score 0..1 for each passage, in order.

    The caller may give what it has already: `passage_terms` are the terms of the passages;
    `term_positions` maps each term to the positions of its passages, once for each occurrence.
    Raises ValueError for a method that is not in METHODS.
    """
    if method not in METHODS:
        raise ValueError(f"the method is one of {', '.join(METHODS)}")
    if passage_terms is None:
        passage_terms = [extract_terms(passage) for passage in passages]
    if term_positions is None:
        term_positions = locate_terms(passage_terms)
    if method != "weighted":
        return rank_values(MEASURES[method](passages, passage_terms, term_positions))
    total = [0.0] * len(passages)
    for name, weight in WEIGHTS.items():
        scores = rank_values(MEASURES[name](passages, passage_terms, term_positions))
        total = [so_far + weight * score for so_far, score in zip(total, scores, strict=True)]
    return rank_values(total)


def locate_terms(passage_terms: PassageTerms) -> TermPositions:
    """Return for each term the positions of its passages, once for each occurrence."""
    positions: dict[str, list[int]] = defaultdict(list)
    for number, terms in enumerate(passage_terms):
        for term in terms:
            positions[term].append(number)
    return positions


def rank_values(values: Sequence[float]) -> list[float]:
    """Return the values as ranks 0..1: 0 the lowest, 1 the highest.

    Equal values get the middle of their places.
    """
    last = len(values) - 1
    ordered = sorted(values)
    places: dict[float, float] = {}
    start = 0
    for end, value in enumerate(ordered, 1):
        if end > last or ordered[end] != value:
            places[value] = (start + end - 1) / 2 / last if last else 0.5
            start = end
    return [places[value] for value in values]


def shannon_entropy(counts: Iterable[int], total: int) -> float:
    """Return the Shannon entropy in bits of a distribution, 0 for an empty one.

    It is given as counts above 0 that add up to `total`.
    """
    if total < 2:
        return 0.0
    return log2(total) - sum([count * log2(count) for count in counts if count > 1]) / total


def score_evenness(counters: Sequence[Counter[str]]) -> list[float]:
    """Return the entropy of each counter as a share of the most its total allows, 0..1.

    A total below the median counts as the median, so that a line of three words is not the densest.
    """
    totals = [counter.total() for counter in counters]
    middle = median(totals) if totals else 0
    return [
        round(shannon_entropy(counter.values(), total) / log2(max(total, middle, 2)), 9)
        for counter, total in zip(counters, totals, strict=True)
    ]


def score_words(
    passages: Sequence[str], passage_terms: PassageTerms, term_positions: TermPositions
) -> list[float]:
    """Return how varied the terms of each passage are, 0..1."""
    return score_evenness([Counter(terms) for terms in passage_terms])


def score_ngrams(
    passages: Sequence[str], passage_terms: PassageTerms, term_positions: TermPositions
) -> list[float]:
    """Return how varied the pairs of neighbouring characters of each passage are, 0..1."""
    return score_evenness([Counter(map(add, passage, passage[1:])) for passage in passages])


def score_semantics(
    passages: Sequence[str], passage_terms: PassageTerms, term_positions: TermPositions
) -> list[float]:
    """Return how similar each passage is to the others on average, 0..1.

    It is the mean cosine of its TF-IDF vector with theirs, computed from the sum of all vectors,
    term by term, in place of n² comparisons. Repetitions within a passage count logarithmically.
    """
    squares = sum_squares(term_positions, len(passage_terms))
    lengths = [sqrt(square) or 1.0 for square in squares]
    products = sum_products(term_positions, lengths)
    other_count = max(len(passage_terms) - 1, 1)
    cosines = [
        (product / length - 1) / other_count if square else 0.0
        for product, length, square in zip(products, lengths, squares, strict=True)
    ]
    return [round(cosine, 9) for cosine in cosines]


def sum_squares(term_positions: TermPositions, passage_count: int) -> list[float]:
    """Return the squared length of the vector of each passage."""
    squares = [0.0] * passage_count
    single_weight = weigh_single_term(passage_count)
    for slots in term_positions.values():
        if len(slots) == 1:  # most terms of a long text
            squares[slots[0]] += single_weight * single_weight
        else:
            for number, weight in weigh_term(slots, passage_count):
                squares[number] += weight * weight
    return squares


def sum_products(term_positions: TermPositions, lengths: Sequence[float]) -> list[float]:
    """Return the product of each passage's vector with the sum of all vectors of length 1."""
    products = [0.0] * len(lengths)
    single_weight = weigh_single_term(len(lengths))
    for slots in term_positions.values():
        if len(slots) == 1:
            products[slots[0]] += single_weight * single_weight / lengths[slots[0]]
        else:
            weights = weigh_term(slots, len(lengths))
            total = sum([weight / lengths[number] for number, weight in weights])
            for number, weight in weights:
                products[number] += weight * total
    return products


def weigh_single_term(passage_count: int) -> float:
    """Return the weight of a term that occurs once in one passage."""
    return log(1 + passage_count) * REPEAT_WEIGHTS[1]


def weigh_term(slots: Sequence[int], passage_count: int) -> list[tuple[int, float]]:
    """Return (passage, weight) of a term that occurs in these of `passage_count` passages."""
    count_by_passage = Counter(slots)
    rarity = log(1 + passage_count / len(count_by_passage))
    return [
        (number, rarity * REPEAT_WEIGHTS[min(count, MOST_REPEATS)])
        for number, count in count_by_passage.items()
    ]


def score_structure(
    passages: Sequence[str], passage_terms: PassageTerms, term_positions: TermPositions
) -> list[float]:
    """Return 0.7 of the entropy of sentence lengths + 0.3 of that of punctuation, in bits."""
    scores = []
    for passage in passages:
        lengths = [len(sentence) for sentence in SENTENCE_ENDS.split(passage) if sentence]
        marks = Counter(PUNCTUATION.findall(passage))
        sentences_entropy = shannon_entropy(lengths, sum(lengths))
        marks_entropy = shannon_entropy(marks.values(), marks.total())
        score = SENTENCES_SHARE * sentences_entropy + (1 - SENTENCES_SHARE) * marks_entropy
        scores.append(round(score, 9))
    return scores


MEASURES: dict[str, Callable[[Sequence[str], PassageTerms, TermPositions], list[float]]] = {
    "word": score_words,
    "ngram": score_ngrams,
    "semantic": score_semantics,
    "structural": score_structure,
}
