"""Find the passages that answer a question with BM25, and fuse several rankings into one.

Passages are given as terms (`conversations/text/terms.py`) under keys of the caller's choice, the
question as text; the results are `PassageHit`s, best first. No database: an index is built passage
by passage in memory, or lies in bytes (`packed_postings.py`). Ranking as in Robertson and Zaragoza,
"The Probabilistic Relevance Framework" (2009); fusion by reciprocal rank as in Cormack, Clarke and
Büttcher (SIGIR 2009).
"""

import heapq
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log

from conversations.text.terms import extract_terms

TERM_SATURATION = 1.2  # BM25's k1: how soon a repeated term adds nothing
LENGTH_DISCOUNT = 0.75  # BM25's b, 0..1: how much a long passage is discounted
RANK_CONSTANT = 60  # reciprocal rank fusion's k: how little the first place differs from the second
QUESTION_CHARS = 4_000  # a longer question is searched by its beginning and its end only
QUESTION_TERMS = 200  # a longer question is searched by its rarest terms
MOST_POSTINGS = 500_000  # places in which the searched terms may occur together

Key = int | str


@dataclass(frozen=True, slots=True)
class PassageHit:
    """A passage that was found: its key and its score.

    The score is above 0 and comparable within one search only.
    """

    key: Key
    score: float


class PassageIndex(ABC):
    """Passages by their terms.

    `lengths` are the numbers of terms of the passages, by slot, 0.. in order of adding.
    """

    lengths: Sequence[int]

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def find_slots(self, words: Iterable[str]) -> dict[str, Sequence[int]]:
        """Return the slots of the words that occur, in the order of the words.

        The slots are ascending, with one entry for each occurrence in the passage.
        """

    @abstractmethod
    def keys(self) -> Sequence[Key]:
        """Return the keys of all slots."""

    def search_passages(self, question: str, limit: int = 10) -> list[PassageHit]:
        """Return at most `limit` passages that share a term with the question, best first.

        Equal scores are in order of adding.
        """
        scores: dict[int, float] = {}
        mean_length = (sum(self.lengths) or 1) / (len(self.lengths) or 1)
        constant = TERM_SATURATION * (1 - LENGTH_DISCOUNT)
        slope = TERM_SATURATION * LENGTH_DISCOUNT / mean_length
        for slots, question_count in self._find_question_slots(question):
            count_by_slot = Counter(slots)
            with_term = len(count_by_slot)
            rarity = log(1 + (len(self.lengths) - with_term + 0.5) / (with_term + 0.5))
            weight = (1 + log(question_count)) * (TERM_SATURATION + 1) * rarity
            for slot, count in count_by_slot.items():
                gain = weight * count / (count + constant + slope * self.lengths[slot])
                scores[slot] = scores.get(slot, 0.0) + gain
        best = heapq.nsmallest(limit, scores.items(), key=lambda item: (-item[1], item[0]))
        keys = self.keys() if best else ()
        return [PassageHit(keys[slot], score) for slot, score in best]

    def _find_question_slots(self, question: str) -> list[tuple[Sequence[int], int]]:
        """Return (slots, times in the question) of the question's terms that occur.

        When there are too many, only the rarest are returned.
        """
        term_counts = Counter(extract_terms(shorten_question(question)))
        known = [(slots, term_counts[term]) for term, slots in self.find_slots(term_counts).items()]
        rarest = heapq.nsmallest(QUESTION_TERMS, known, key=lambda item: len(item[0]))
        total_postings = 0
        for number, (slots, _) in enumerate(rarest):
            total_postings += len(slots)
            if total_postings > MOST_POSTINGS:
                return rarest[: max(number, 1)]
        return rarest


class MemoryIndex(PassageIndex):
    """Passages that can be added to.

    `slots` maps key to slot; `postings` maps term to slots, as `find_slots` returns them.
    """

    def __init__(self) -> None:
        self.slots: dict[Key, int] = {}
        self.lengths: list[int] = []
        self.postings: dict[str, list[int]] = defaultdict(list)

    def add_passage(self, key: Key, words: Sequence[str]) -> None:
        """Add a passage's terms. Raises ValueError for a key that is there already."""
        if key in self.slots:
            raise ValueError(f"the passage {key!r} is in the index already")
        slot = self.slots[key] = len(self.lengths)
        self.lengths.append(len(words))
        postings = self.postings
        for word in words:
            postings[word].append(slot)

    def find_slots(self, words: Iterable[str]) -> dict[str, Sequence[int]]:
        return {word: self.postings[word] for word in words if word in self.postings}

    def keys(self) -> Sequence[Key]:
        return list(self.slots)


def shorten_question(question: str) -> str:
    """Return the question, or the beginning and the end of a longer one."""
    if len(question) <= QUESTION_CHARS:
        return question
    half = QUESTION_CHARS // 2
    return f"{question[:half]}\n{question[-half:]}"


def fuse_rankings(rankings: Iterable[Iterable[Key]], limit: int = 10) -> list[PassageHit]:
    """Return one ranking made of several (BM25, embeddings, ...).

    Each ranking is a sequence of keys, best first. A passage gains 1 / (60 + place) from each
    ranking, so scores of different scales need no common measure. Equal sums are in order of
    appearance.
    """
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for place, key in enumerate(dict.fromkeys(ranking), 1):
            scores[key] = scores.get(key, 0.0) + 1 / (RANK_CONSTANT + place)
    return [
        PassageHit(key, score)
        for key, score in heapq.nlargest(limit, scores.items(), key=lambda item: item[1])
    ]


def select_within_budget(
    hits: Iterable[PassageHit], lengths: Mapping[Key, int], budget: int
) -> list[PassageHit]:
    """Return the best hits whose lengths together stay within the budget.

    `lengths` maps key to characters. A hit that does not fit is left out.
    """
    chosen = []
    for hit in hits:
        if lengths[hit.key] <= budget:
            budget -= lengths[hit.key]
            chosen.append(hit)
    return chosen
