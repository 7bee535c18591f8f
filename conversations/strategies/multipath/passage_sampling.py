"""Choose for each candidate the passage of the caller's texts that it starts from. No I/O."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

from conversations.strategies.multipath.term_likeness import measure_likeness
from conversations.text.density import shannon_entropy
from conversations.text.split import split_passages
from conversations.text.terms import extract_terms

PASSAGE_CHARS = 1_500


def list_passages(text: str) -> list[str]:
    """Split a text into passages of up to PASSAGE_CHARS characters."""
    passages = (passage.text.strip() for passage in split_passages(text, PASSAGE_CHARS))
    return [passage for passage in passages if passage]


def sample_passages(
    method: str, passages: Sequence[str], question: str, count: int, rng: random.Random
) -> list[str]:
    """Choose `count` passages by a method of SAMPLERS, different ones while there are enough."""
    if not passages:
        return []
    chosen = SAMPLERS[method](list(passages), question, min(count, len(passages)), rng)
    return [chosen[number % len(chosen)] for number in range(count)]


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
    question_terms = set(extract_terms(question))

    def count_common_terms(passage: str) -> int:
        return len(question_terms.intersection(extract_terms(passage)))

    return sorted(passages, key=count_common_terms, reverse=True)[:count]


def choose_by_diversity(
    passages: list[str], question: str, count: int, rng: random.Random
) -> list[str]:
    """Choose the first at random, then each time the passage that is least like the chosen ones."""
    remaining = [(passage, set(extract_terms(passage))) for passage in passages]
    chosen = [remaining.pop(rng.randrange(len(remaining)))]
    while remaining and len(chosen) < count:
        likeness = [
            max(measure_likeness(terms, chosen_terms) for _, chosen_terms in chosen)
            for _, terms in remaining
        ]
        chosen.append(remaining.pop(likeness.index(min(likeness))))
    return [passage for passage, _ in chosen]


def measure_entropy(text: str) -> float:
    """Return the entropy of a text's terms in bits: how varied they are."""
    counts = Counter(extract_terms(text))
    return shannon_entropy(counts.values(), counts.total())


SAMPLERS: dict[str, Callable[[list[str], str, int, random.Random], list[str]]] = {
    "random": choose_by_chance,
    "entropy": choose_by_entropy,
    "relevance": choose_by_relevance,
    "diversity": choose_by_diversity,
}
