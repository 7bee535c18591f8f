"""Which passages answer a question: a BM25 index in memory, and one ranking made of several.

In: passages as terms (`terms.py`) under keys of the caller's choice, a question as text. Out: `Hit`s, best first.
No database: an index is built from rows, merged from others, or kept as the JSON data it gives. Ranking as in
Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009); fusion by reciprocal rank as in Cormack,
Clarke and Büttcher (SIGIR 2009).
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from conversations.documents.terms import terms

SATURATION = 1.2  # BM25's k1: how soon a repeated term says nothing new
LENGTH = 0.75  # BM25's b, 0..1: how much a long passage is discounted
RANK = 60  # reciprocal rank fusion's k: how little the first place differs from the second
QUESTION_TERMS = 200  # a longer question is searched by its rarest terms

Key = int | str


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found: its key and how well it fits, above 0, comparable within one search only."""

    key: Key
    score: float


class Index:
    """Passages by their terms. `slots`: key -> slot 0.., in order of adding; `lengths`: terms in the passage of each
    slot; `postings`: term -> slots in ascending order, one entry each time the passage says it."""

    def __init__(self) -> None:
        self.slots: dict[Key, int] = {}
        self.lengths: list[int] = []
        self.postings: dict[str, list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self.slots)

    def add(self, key: Key, words: Sequence[str]) -> None:
        """Take in a passage's terms. Raises ValueError for a key that is there already."""
        if key in self.slots:
            raise ValueError(f"the passage {key!r} is in the index already")
        slot = self.slots[key] = len(self.lengths)
        self.lengths.append(len(words))
        postings = self.postings
        for word in words:
            postings[word].append(slot)

    def search(self, question: str, limit: int = 10) -> list[Hit]:
        """At most `limit` passages that share a term with the question, best first, ties in order of adding."""
        scores: dict[int, float] = {}
        usual = (sum(self.lengths) or 1) / (len(self.lengths) or 1)
        constant, slope = SATURATION * (1 - LENGTH), SATURATION * LENGTH / usual
        for word, asked in self._asked(question):
            found = Counter(self.postings[word])
            weight = (
                (1 + log(asked))
                * (SATURATION + 1)
                * log(1 + (len(self.lengths) - len(found) + 0.5) / (len(found) + 0.5))
            )
            for slot, said in found.items():
                gain = weight * said / (said + constant + slope * self.lengths[slot])
                scores[slot] = scores.get(slot, 0.0) + gain
        best = heapq.nsmallest(limit, scores.items(), key=lambda item: (-item[1], item[0]))
        keys = list(self.slots)
        return [Hit(keys[slot], score) for slot, score in best]

    def _asked(self, question: str) -> list[tuple[str, int]]:
        """(term, times asked) of the question's terms that occur at all, of too many the rarest."""
        known = [(word, asked) for word, asked in Counter(terms(question)).items() if word in self.postings]
        return heapq.nsmallest(QUESTION_TERMS, known, key=lambda item: len(self.postings[item[0]]))

    def merge(self, other: "Index") -> None:
        """Take in all passages of another index, as if they were added now. Raises ValueError, and changes
        nothing, when a key is in both."""
        if both := self.slots.keys() & other.slots.keys():
            raise ValueError(f"{len(both)} passages are in both indexes")
        shift = len(self.lengths)
        self.slots.update((key, slot + shift) for key, slot in other.slots.items())
        self.lengths.extend(other.lengths)
        for word, slots in other.postings.items():
            self.postings[word].extend([slot + shift for slot in slots])

    def data(self) -> dict[str, Any]:
        """Everything as JSON-able data: {"keys": [...], "lengths": [...], "postings": {term: [slot, ...]}}; a copy."""
        postings = {word: list(slots) for word, slots in self.postings.items()}
        return {"keys": list(self.slots), "lengths": list(self.lengths), "postings": postings}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Index":
        """The index that `data()` described. Raises ValueError when keys and lengths do not belong together."""
        index = cls()
        index.slots = {key: slot for slot, key in enumerate(data["keys"])}
        index.lengths = list(data["lengths"])
        if not len(index.slots) == len(data["keys"]) == len(index.lengths):
            raise ValueError("each passage needs one key of its own and one length")
        index.postings.update((word, list(slots)) for word, slots in data["postings"].items())
        return index


def fuse(rankings: Iterable[Iterable[Key]], limit: int = 10) -> list[Hit]:
    """One ranking of several (BM25, embeddings, ...), each a sequence of keys, best first: a passage gains 1 /
    (60 + place) from each ranking it stands in, so scores of different scales need no common measure. Ties: first
    come, first."""
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for place, key in enumerate(dict.fromkeys(ranking), 1):
            scores[key] = scores.get(key, 0.0) + 1 / (RANK + place)
    return [Hit(key, score) for key, score in heapq.nlargest(limit, scores.items(), key=lambda item: item[1])]


def within(hits: Iterable[Hit], lengths: Mapping[Key, int], budget: int) -> list[Hit]:
    """The best hits whose lengths (key -> characters) together stay within the budget; one that does not fit is
    passed over."""
    chosen = []
    for hit in hits:
        if lengths[hit.key] <= budget:
            budget -= lengths[hit.key]
            chosen.append(hit)
    return chosen
