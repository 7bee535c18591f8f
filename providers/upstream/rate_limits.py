"""Read rate limits from upstreams' headers and from the bodies of error answers. No I/O.

Sources: OpenAI's API reference, "Rate limits" (`x-ratelimit-remaining-requests`, `…-reset-tokens`:
durations such as `6m0s`; per model); Groq's and Mistral's pages, which use the same names;
Anthropic's API reference, "Rate limits" (`anthropic-ratelimit-requests-remaining`, resets in RFC
3339; per class of models); OpenRouter's "Limits" (`X-RateLimit-Reset`: milliseconds since 1970,
also inside `error.metadata.headers`; per account); Google's `RetryInfo` (`retryDelay`); the IETF
draft "RateLimit header fields" (`ratelimit-reset`: seconds).
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

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
    found: RateLimit | None = None
    for remaining, reset, of_model in HEADER_FAMILIES:
        if headers.get(remaining) in USED_UP_VALUES:
            seconds = parse_reset(headers.get(reset, b"").decode("latin-1"))
            if seconds and (found is None or seconds > found.seconds):
                found = RateLimit(seconds, of_model)
    return found


def read_reset(headers: Mapping[bytes, bytes]) -> RateLimit | None:
    """Return from a 429's headers when the limit that was hit is reset, or None.

    Where no header says that nothing is left, the soonest reset is taken: it may be the wrong one,
    and then the next 429 says so.
    """
    if (exact := read_limit(headers)) is not None:
        return exact
    resets = [
        RateLimit(seconds, of_model)
        for _, reset, of_model in HEADER_FAMILIES
        if (seconds := parse_reset(headers.get(reset, b"").decode("latin-1")))
    ]
    return min(resets, default=None)


def has_model_limits(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the upstream limits per model, as its headers show."""
    return any(of_model and reset in headers for _, reset, of_model in HEADER_FAMILIES)


def read_body_reset(error: Mapping[str, Any]) -> float | None:
    """Return the seconds to wait that an error object names; None when it names none."""
    metadata = error.get("metadata")
    inner = metadata.get("headers") if isinstance(metadata, dict) else None
    if isinstance(inner, dict):
        for name, value in inner.items():
            if str(name).lower() in ("x-ratelimit-reset", "retry-after"):
                return parse_reset(str(value))
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("retryDelay"), str):
            return parse_reset(detail["retryDelay"])
    for name in ("retry_after", "retry_after_seconds"):
        value = error.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return parse_reset(str(value))
    if found := TRY_AGAIN.search(str(error.get("message") or "")[:2_000]):
        return parse_reset(found[1])
    return None


def read_organization(headers: Mapping[bytes, bytes], message: str) -> str:
    """Return the organization whose limit was hit; empty when the answer names none."""
    if found := ORGANIZATION.search(message[:2_000]):
        return found[1]
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
        return max(0.0, number - time.time()) if number >= EPOCH_SECONDS else number
    parts = DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
    return _parse_date(text)


def _parse_date(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
    try:
        aware = at.replace(tzinfo=at.tzinfo or UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None
