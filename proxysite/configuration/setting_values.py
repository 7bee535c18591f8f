"""Values of settings: which are allowed, and how a fault is described. No I/O, no Django."""

import math
import re
from difflib import get_close_matches
from typing import TypeVar
from urllib.parse import urlsplit

Number = TypeVar("Number", int, float)
# the sources of values
DEFAULT = "default"
ENVIRONMENT = "environment"
ENV_FILE = ".env"
TRUE_WORDS = ("true", "1", "yes", "on", "y", "t")
FALSE_WORDS = ("false", "0", "no", "off", "n", "f")
LONGEST_TIMER_SECONDS = 31_536_000  # a year; event loops and sockets take no more
TEN_YEARS_SECONDS = 315_360_000
LARGEST_NUMBER = 2**53
SHOWN_CHARS = 60  # of a value that is quoted in an error
LEAST_SIMILARITY = 0.86  # two names at least so similar may be a misspelling
SHORTEST_NAME = 7  # shorter names resemble too many others
POSTGRES_SCHEMES = ("postgres", "postgresql", "psql", "pgsql")
DATABASE_FORMS = "postgres://user:password@host:5432/name or sqlite:////path/of/a/file"
HOST_NAME = re.compile(r"\*|\.?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\]")
ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[^/\s?#]+")


def check_range(value: Number, least: float, most: float) -> Number:
    """Return the number. Raises ValueError when it is out of range or not finite."""
    if not math.isfinite(value) or not least <= value <= most:
        raise ValueError
    return value


def describe_range(least: float, most: float) -> str:
    if most >= LONGEST_TIMER_SECONDS:
        return f"of at least {least:g}" if least else "of 0 or more"
    return f"from {least:g} to {most:g}"


def split_list(text: str) -> list[str]:
    return [part for part in (part.strip() for part in check_text(text).split(",")) if part]


def check_text(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError
    return text


def check_entries(entries: list[str], pattern: re.Pattern[str]) -> list[str]:
    """Return the entries. Raises ValueError when one does not match the pattern."""
    if not all(pattern.fullmatch(entry) for entry in entries):
        raise ValueError
    return entries


def check_database_url(text: str) -> str:
    """Return the URL. Raises ValueError when it names no database that we can use."""
    if text.startswith("sqlite:"):
        if not text.startswith("sqlite:///") or not text.removeprefix("sqlite:///"):
            raise ValueError
        return text
    parts = urlsplit(text)
    if parts.scheme not in POSTGRES_SCHEMES or not parts.path.strip("/"):
        raise ValueError
    if "," not in parts.netloc and parts.port == 0:
        raise ValueError
    return text


def describe_bad_value(name: str, text: str, allowed: str, is_secret: bool, source: str) -> str:
    """Return one line that says why a variable's value is not allowed.

    A value that may hold a password is not repeated.
    """
    named = name if source in (ENVIRONMENT, ENV_FILE, DEFAULT) else f"{name} ({source})"
    hidden = is_secret or (" or " in allowed and "://" in allowed) or "@" in text
    short = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."
    shown = "its value" if hidden else ascii(short)
    return f"{named}: {shown} is not {allowed or 'a text without control characters'}."


def find_similar_name(given_name: str, known_names: set[str]) -> str | None:
    """Return the setting of which a variable's name is a misspelling, or None."""
    if len(given_name) < SHORTEST_NAME - 1:
        return None
    candidates = [name for name in known_names if len(name) >= SHORTEST_NAME]
    return next(
        iter(get_close_matches(given_name.upper(), candidates, n=1, cutoff=LEAST_SIMILARITY)), None
    )
