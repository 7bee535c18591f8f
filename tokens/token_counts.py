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
        """Return for example `3 tokens: 2 ready, 1 in use`."""
        text = "1 token" if self.total == 1 else f"{self.total} tokens"
        states = zip(self._fields[1:], self[1:], strict=True)
        parts = [f"{count} {name.replace('_', ' ')}" for name, count in states if count]
        if not parts:
            return text
        return f"{text}: {', '.join(parts)}"
