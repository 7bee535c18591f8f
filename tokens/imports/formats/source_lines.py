"""The lines of a file of tokens, as every format is read: credentials, nothing, or a problem."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple


class Login(NamedTuple):
    email: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.email})"


class MalformedLine(Exception):
    """A line that holds no credential; the message says why, without any of its characters."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The facts that a file tells about a credential: where it is used, its name, its end.

    `base_url` is an address or a host name; empty when the file does not say it.
    """

    base_url: str = ""
    label: str = ""
    expires_at: datetime | None = None


UNKNOWN_ORIGIN = Origin()


class FoundCredential(NamedTuple):
    """An account or a token that a line holds, and its origin."""

    credential: Login | str
    origin: Origin = UNKNOWN_ORIGIN


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line, or one entry of a JSON or YAML file.

    It has credentials, or a problem, or neither: then it is blank or a comment, for example.
    """

    number: int
    credentials: list[FoundCredential] = field(default_factory=list)
    problem: str = ""
