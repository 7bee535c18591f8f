"""Values of settings: which are allowed, and how a fault is described. No I/O, no Django."""

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
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
EMAIL_PATTERN = re.compile(r"[^@\s,<>()]+@[^@\s,<>()]*[^@\s,<>().]")
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


def parse_whole_number(text: str, least: int, most: int) -> int:
    return check_range(int(text), least, most)


def parse_number(text: str, least: float, most: float) -> float:
    return check_range(float(text), least, most)


def parse_switch(text: str) -> bool:
    if text.lower() not in TRUE_WORDS + FALSE_WORDS:
        raise ValueError
    return text.lower() in TRUE_WORDS


def parse_choice(text: str, spellings: Mapping[str, str]) -> str:
    """Return the value as `spellings` has it under the text in lower case. Raises ValueError."""
    if text.lower() not in spellings:
        raise ValueError
    return spellings[text.lower()]


def parse_host_names(text: str) -> list[str]:
    return check_entries(split_list(text), HOST_NAME)


def parse_origins(text: str, wildcard: bool) -> list[str]:
    """Return the origins; with `wildcard` one may be `*`. Raises ValueError."""
    origins = split_list(text)
    check_entries([entry for entry in origins if not (wildcard and entry == "*")], ORIGIN)
    return origins


def parse_emails(text: str) -> list[str]:
    return check_entries(split_list(text), EMAIL_PATTERN)


def parse_networks(text: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(part, strict=False) for part in split_list(text)]


def parse_url(text: str, schemes: tuple[str, ...]) -> str:
    """Return the URL. Raises ValueError unless it has one of the schemes and a host."""
    parts = urlsplit(text)
    has_place = parts.hostname or (parts.scheme == "unix" and parts.path)
    if parts.scheme not in schemes or not has_place or parts.port == 0:
        raise ValueError
    return text


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
    full_name = name if source in (ENVIRONMENT, ENV_FILE, DEFAULT) else f"{name} ({source})"
    may_hold_password = is_secret or (" or " in allowed and "://" in allowed) or "@" in text
    short_text = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."
    quoted_value = "its value" if may_hold_password else ascii(short_text)
    return f"{full_name}: {quoted_value} is not {allowed or 'a text without control characters'}."


def find_similar_name(given_name: str, known_names: set[str]) -> str | None:
    """Return the setting of which a variable's name is a misspelling, or None."""
    if len(given_name) < SHORTEST_NAME - 1:
        return None
    candidates = [name for name in known_names if len(name) >= SHORTEST_NAME]
    return next(
        iter(get_close_matches(given_name.upper(), candidates, n=1, cutoff=LEAST_SIMILARITY)), None
    )
