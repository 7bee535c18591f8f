"""The counts of a provider's tokens by state, for people."""

from typing import NamedTuple


class TokenCounts(NamedTuple):
    """The number of a provider's tokens in each state at one moment.

    `limited` includes the tokens limited for one model.
    """

    total: int
    ready: int
    limited: int
    exhausted: int
    failing: int
    disabled: int
    expired: int
    in_use: int  # tokens whose single stream is in use

    def __str__(self) -> str:
        words = (field.replace("_", " ") for field in self._fields[1:])
        parts = [f"{number} {word}" for word, number in zip(words, self[1:], strict=True) if number]
        noun = "token" if self.total == 1 else "tokens"
        return f"{self.total} {noun}" + (f": {', '.join(parts)}" if parts else "")
