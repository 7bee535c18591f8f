"""Read rate limits from upstreams' headers and from the bodies of error answers. No I/O.

Sources: OpenAI's API reference, "Rate limits" (`x-ratelimit-remaining-requests`, `…-reset-tokens`:
durations such as `6m0s`; per model); Groq's and Mistral's pages, which use the same names;
Anthropic's API reference, "Rate limits" (`anthropic-ratelimit-requests-remaining`, resets in RFC
3339; per class of models; of accounts `anthropic-ratelimit-unified-reset`, in seconds since 1970,
as published clients read it); OpenRouter's "Limits" (`X-RateLimit-Reset`: milliseconds since 1970,
also inside `error.metadata.headers`; per account); Google's `RetryInfo` (`retryDelay`); the IETF
draft "RateLimit header fields" (`ratelimit-reset`: seconds).
"""

import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from providers.protocol.json_types import JsonObject

# (header of the remaining amount, header of the reset, True when the limit is per model)
HEADER_FAMILIES: tuple[tuple[bytes, bytes, bool], ...] = (
    (b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests", True),
    (b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens", True),
    (b"anthropic-ratelimit-requests-remaining", b"anthropic-ratelimit-requests-reset", True),
    (b"anthropic-ratelimit-tokens-remaining", b"anthropic-ratelimit-tokens-reset", True),
    (
        b"anthropic-ratelimit-input-tokens-remaining",
        b"anthropic-ratelimit-input-tokens-reset",
        True,
    ),
    (
        b"anthropic-ratelimit-output-tokens-remaining",
        b"anthropic-ratelimit-output-tokens-reset",
        True,
    ),
    # of accounts that signed in: only the reset is sent, with a status
    (b"anthropic-ratelimit-unified-remaining", b"anthropic-ratelimit-unified-reset", False),
    (b"x-ratelimit-remaining", b"x-ratelimit-reset", False),
    (b"ratelimit-remaining", b"ratelimit-reset", False),
)
REMAINING_HEADERS = frozenset(remaining for remaining, _, _ in HEADER_FAMILIES)
USED_UP_VALUES = (b"0", b"0.0")
EPOCH_SECONDS = 1e9  # numbers from here on are times since 1970, not durations
EPOCH_MILLISECONDS = 1e11
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
DURATION = re.compile(r"(?:(\d{1,9}(?:\.\d{0,9})?)(ms|s|m|h|d))", re.ASCII)
NUMBER = re.compile(r"\d{1,15}(?:\.\d{0,9})?", re.ASCII)
TRY_AGAIN = re.compile(
    r"try again in ((?:\d{1,9}(?:\.\d{0,9})?(?:ms|s|m|h|d))+)", re.ASCII | re.IGNORECASE
)
ORGANIZATION = re.compile(r"\borgani[sz]ation[ :`'\"]*(org-[A-Za-z0-9_-]{1,64})", re.ASCII)


class RateLimit(NamedTuple):
    """A used-up rate limit: nothing is left for `seconds`.

    It holds for the requested model when `is_per_model` is true, else for the whole token.
    """

    seconds: float
    is_per_model: bool


def read_limit(headers: Mapping[bytes, bytes]) -> RateLimit | None:
    """Return the longest of the used-up limits in an answer's headers, or None."""
    if REMAINING_HEADERS.isdisjoint(headers):
        return None
    used_up = [
        (reset, is_per_model)
        for remaining, reset, is_per_model in HEADER_FAMILIES
        if headers.get(remaining) in USED_UP_VALUES
    ]
    if not used_up:
        return None
    limits = read_resets(headers, used_up)
    return max(limits, default=None, key=lambda limit: limit.seconds)


def read_reset(headers: Mapping[bytes, bytes]) -> RateLimit | None:
    """Return from a 429's headers when the limit that was hit is reset, or None.

    Where no header says that nothing is left, the soonest reset is taken: it may be the wrong one,
    and then the next 429 says so.
    """
    if (exact := read_limit(headers)) is not None:
        return exact
    families = [(reset, is_per_model) for _, reset, is_per_model in HEADER_FAMILIES]
    return min(read_resets(headers, families), default=None)


def read_resets(
    headers: Mapping[bytes, bytes], families: Iterable[tuple[bytes, bool]]
) -> list[RateLimit]:
    """Return the limits whose reset headers are there, in the order of `families`.

    A family is the name of the reset's header, and whether the limit is per model.
    """
    return [
        RateLimit(seconds, is_per_model)
        for reset, is_per_model in families
        if (seconds := parse_reset(headers.get(reset, b"").decode("latin-1")))
    ]


def has_model_limits(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the upstream limits per model, as its headers show."""
    return any(is_per_model and reset in headers for _, reset, is_per_model in HEADER_FAMILIES)


def read_body_reset(error: JsonObject) -> float | None:
    """Return the seconds to wait that an error object names; None when it names none."""
    text = find_reset_text(error)
    if text is None:
        return None
    return parse_reset(text)


def find_reset_text(error: JsonObject) -> str | None:
    """Return the text of an error object that says how long to wait; None when none does."""
    for header, value in list_inner_headers(error):
        if header.lower() in ("x-ratelimit-reset", "retry-after"):
            return str(value)
    for delay in list_retry_delays(error):
        return delay
    for name in ("retry_after", "retry_after_seconds"):
        value = error.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    match = TRY_AGAIN.search(str(error.get("message") or "")[:2_000])
    return match and match[1]


def list_inner_headers(error: JsonObject) -> list[tuple[str, object]]:
    """Return the headers that OpenRouter puts into the error's metadata."""
    metadata = error.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("headers"), dict):
        return []
    return [(str(name), value) for name, value in metadata["headers"].items()]


def list_retry_delays(error: JsonObject) -> list[str]:
    """Return the delays in the error's details, in Google's form."""
    details = error.get("details")
    if not isinstance(details, list):
        return []
    delays = [detail.get("retryDelay") for detail in details if isinstance(detail, dict)]
    return [delay for delay in delays if isinstance(delay, str)]


def read_organization(headers: Mapping[bytes, bytes], message: str) -> str:
    """Return the organization whose limit was hit; empty when the answer names none."""
    if match := ORGANIZATION.search(message[:2_000]):
        return match[1]
    return headers.get(b"openai-organization", b"").decode("latin-1")[:64]


def parse_reset(text: str) -> float | None:
    """Return the seconds from now until a reset, 0 for a past one; None for text that is none.

    Accepts durations (`6m0s`, `120ms`, `1.5`), times since 1970 in seconds or milliseconds, RFC
    3339 and HTTP dates.
    """
    text = text.strip()
    if not text or len(text) > 64:
        return None
    if NUMBER.fullmatch(text):
        number = float(text)
        if number >= EPOCH_MILLISECONDS:
            return max(0.0, number / 1_000 - time.time())
        if number >= EPOCH_SECONDS:
            return max(0.0, number - time.time())
        return number
    parts = DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
    return _parse_date(text)


def _parse_date(text: str) -> float | None:
    """Return the seconds until a date in RFC 3339's or HTTP's form; None for other text."""
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = parse(text)
            wait = date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)
        except (ValueError, OverflowError):
            continue
        return max(0.0, wait.total_seconds())
    return None
