"""The usage of several questions as one, and a guess by length where an upstream gave no figures. No I/O."""

from collections.abc import Sequence
from typing import Any

PER_MESSAGE = 4  # tokens


def summed(first: Any, second: Any) -> Any:
    """Counts added up, at any depth; of what is no count the later one."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first | {name: summed(first.get(name), value) for name, value in second.items()}
    if any(isinstance(value, bool) for value in (first, second)):
        return first or second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first + second
    return first if second is None else second


def guessed(asked: Sequence[str], produced: Sequence[str]) -> dict[str, Any]:
    """Usage by the length of the texts, `asked` the messages': four letters are a token, and so is one sign of a script
    without spaces.
    """
    prompt = sum(tokens(text) + PER_MESSAGE for text in asked)
    completion = sum(map(tokens, produced))
    total = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return total | {"estimated": True}


def tokens(text: str) -> int:
    if text.isascii():
        return (len(text) + 3) // 4
    dense = sum(char > "\u2e7f" for char in text)
    return dense + (len(text) - dense + 3) // 4
