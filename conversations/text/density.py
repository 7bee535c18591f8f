"""Score how dense each passage is, compared with the other passages of its document.

The score is 0..1 with 0.5 as the middle: the share of the document's other passages that are less
dense (a rank; equal passages share their places). So 0.7 means the same in a novel and in a data
sheet, and a threshold divides any text; scores of different documents cannot be compared. The
methods have OpenKimi's names: `word` (how varied the words are), `ngram` (how varied the pairs of
characters are), `semantic` (how near the rare words are to the subject of the document, TF-IDF),
`structural` (how varied sentences and punctuation are), `weighted` (all four). Pure Python; the
work is proportional to the length.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log, log2, sqrt
from operator import add
from statistics import median

from conversations.text.split import FULL_STOPS
from conversations.text.terms import terms

WEIGHTS = {"word": 0.3, "ngram": 0.2, "semantic": 0.3, "structural": 0.2}
METHODS = (*WEIGHTS, "weighted")
SENTENCE_ENDS = re.compile(rf"[.!?…\n{FULL_STOPS}]")
PUNCTUATION = re.compile(r"[^\w\s]")
MOST_TIMES = 1000  # the count of one term in one passage is limited to this
TIMES = (0.0, *(1 + log(times) for times in range(1, MOST_TIMES + 1)))
SENTENCES_SHARE = 0.7  # of the structural score; the rest is punctuation

Words = Sequence[Sequence[str]]
Places = Mapping[str, Sequence[int]]


def density(
    passages: Sequence[str],
    method: str = "weighted",
    words: Words | None = None,
    places: Places | None = None,
) -> list[float]:
    """Return one score 0..1 for each passage, in order.

    The caller may give what it has already: `words` are the terms of the passages; `places` maps
    each term to the positions of its passages, once for each occurrence. Raises ValueError for a
    method that is not in METHODS.
    """
    if method not in METHODS:
        raise ValueError(f"the method is one of {', '.join(METHODS)}")
    if words is None:
        words = [terms(passage) for passage in passages]
    if places is None:
        places = placed(words)
    if method != "weighted":
        return ranked(MEASURES[method](passages, words, places))
    total = [0.0] * len(passages)
    for name, weight in WEIGHTS.items():
        scores = ranked(MEASURES[name](passages, words, places))
        total = [so_far + weight * score for so_far, score in zip(total, scores, strict=True)]
    return ranked(total)


def placed(words: Words) -> Places:
    """Return for each term the positions of its passages, once for each occurrence."""
    places: dict[str, list[int]] = defaultdict(list)
    for number, found in enumerate(words):
        for term in found:
            places[term].append(number)
    return places


def ranked(values: Sequence[float]) -> list[float]:
    """Return the values as ranks 0..1: 0 the lowest, 1 the highest.

    Equal values get the middle of their places.
    """
    last = len(values) - 1
    ordered = sorted(values)
    places: dict[float, float] = {}
    start = 0
    for at, value in enumerate(ordered, 1):
        if at > last or ordered[at] != value:
            places[value] = (start + at - 1) / 2 / last if last else 0.5
            start = at
    return [places[value] for value in values]


def entropy(counts: Iterable[int], total: int) -> float:
    """Return the Shannon entropy in bits of a distribution, 0 for an empty one.

    It is given as counts above 0 that add up to `total`.
    """
    if total < 2:
        return 0.0
    return log2(total) - sum([count * log2(count) for count in counts if count > 1]) / total


def evenness(counted: Sequence[Counter[str]]) -> list[float]:
    """Return the entropy of each counter as a share of the most its total allows, 0..1.

    A total below the median counts as the median, so that a line of three words is not the densest.
    """
    totals = [counter.total() for counter in counted]
    usual = median(totals) if totals else 0
    return [
        round(entropy(counter.values(), total) / log2(max(total, usual, 2)), 9)
        for counter, total in zip(counted, totals, strict=True)
    ]


def word(passages: Sequence[str], words: Words, places: Places) -> list[float]:
    """Return how varied the terms of each passage are, 0..1."""
    return evenness([Counter(found) for found in words])


def ngram(passages: Sequence[str], words: Words, places: Places) -> list[float]:
    """Return how varied the pairs of neighbouring characters of each passage are, 0..1."""
    return evenness([Counter(map(add, passage, passage[1:])) for passage in passages])


def semantic(passages: Sequence[str], words: Words, places: Places) -> list[float]:
    """Return how similar each passage is to the others on average, 0..1.

    It is the mean cosine of its TF-IDF vector with theirs, computed from the sum of all vectors,
    term by term, in place of n² comparisons. Repetitions within a passage count logarithmically.
    """
    squares = [0.0] * len(words)
    once = log(1 + len(words)) * TIMES[1]
    for slots in places.values():
        if len(slots) == 1:  # most terms of a long text
            squares[slots[0]] += once * once
        else:
            for number, weight in weights(slots, len(words)):
                squares[number] += weight * weight
    lengths = [sqrt(square) or 1.0 for square in squares]
    shared = [0.0] * len(words)
    for slots in places.values():
        if len(slots) == 1:
            shared[slots[0]] += once * once / lengths[slots[0]]
        else:
            weighed = weights(slots, len(words))
            centre = sum([weight / lengths[number] for number, weight in weighed])
            for number, weight in weighed:
                shared[number] += weight * centre
    others = max(len(words) - 1, 1)
    return [
        round((sum_of / length - 1 if square else 0.0) / others, 9)
        for sum_of, length, square in zip(shared, lengths, squares, strict=True)
    ]


def weights(slots: Sequence[int], many: int) -> list[tuple[int, float]]:
    """Return (passage, weight) of a term that occurs in these of `many` passages."""
    found = Counter(slots)
    rarity = log(1 + many / len(found))
    return [(number, rarity * TIMES[min(times, MOST_TIMES)]) for number, times in found.items()]


def structural(passages: Sequence[str], words: Words, places: Places) -> list[float]:
    """Return 0.7 of the entropy of sentence lengths + 0.3 of that of punctuation, in bits."""
    scores = []
    for passage in passages:
        lengths = [len(sentence) for sentence in SENTENCE_ENDS.split(passage) if sentence]
        marks = Counter(PUNCTUATION.findall(passage))
        sentences = entropy(lengths, sum(lengths))
        scores.append(
            round(
                SENTENCES_SHARE * sentences
                + (1 - SENTENCES_SHARE) * entropy(marks.values(), marks.total()),
                9,
            )
        )
    return scores


MEASURES: dict[str, Callable[[Sequence[str], Words, Places], list[float]]] = {
    "word": word,
    "ngram": ngram,
    "semantic": semantic,
    "structural": structural,
}
