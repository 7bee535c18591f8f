"""The result of one check."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

OK = "ok"
WARNING = "warning"
PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do unless it is fine."""

    subject: str
    state: str  # OK, WARNING or PROBLEM
    text: str
    advice: str = ""


Check = Callable[[], Iterator[Finding]]
