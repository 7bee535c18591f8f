"""Compare texts by their terms (`conversations/text/terms.py`)."""

MIN_LIKENESS = 0.5  # share of common terms from which two texts count as the same


def measure_likeness(first: set[str], second: set[str]) -> float:
    """Return the share of terms that two texts have in common (Jaccard index)."""
    return len(first & second) / len(first | second) if first | second else 0.0
