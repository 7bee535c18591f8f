"""The headers of an answer that say what is left of the caller's limits.

The names and the form of times are OpenAI's
(https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers).
"""

import time
from functools import lru_cache

from api.limits.allowance import Allowance
from api.limits.caller_limits import CallerLimits
from api.limits.limit_keeper import LimitKeeper

HEADER_NAMES = [  # in the order of WINDOWED
    tuple(b"x-ratelimit-%s-%s" % (word, suffix) for word in (b"limit", b"remaining", b"reset"))
    for suffix in (b"requests", b"tokens")
]
Headers = list[tuple[bytes, bytes]]


def render_limit_headers(keeper: LimitKeeper, limits: CallerLimits) -> Headers:
    """Return the headers about requests and tokens a minute; of several limits, the tightest."""
    now = time.time()
    headers: Headers = []
    for names, rules in zip(HEADER_NAMES, limits.windowed, strict=True):
        tightest = None
        least = 0
        for rule in rules:
            allowance = keeper.read_allowance(rule, now)
            remaining = allowance.remaining
            if tightest is None or remaining < least:
                tightest = allowance
                least = remaining
        if tightest is not None:
            limit_name, remaining_name, reset_name = names
            headers += (
                (limit_name, b"%d" % tightest.limit),
                (remaining_name, b"%d" % least),
                (reset_name, render_reset(tightest)),
            )
    return headers


def render_reset(allowance: Allowance) -> bytes:
    """Return the time until the whole limit is there again, for example `6m0s` or `20ms`."""
    seconds = 0.0
    if allowance.lease is not None:
        passed = time.monotonic() - allowance.leased_at
        seconds = max(0.0, allowance.lease.seconds_until_full - passed)
    return render_duration(seconds)


def render_duration(seconds: float) -> bytes:
    """Return a time as OpenAI writes it."""
    if seconds < 1:
        return b"%dms" % round(seconds * 1000)
    return render_whole_seconds(round(seconds))


@lru_cache(maxsize=1_024)
def render_whole_seconds(seconds: int) -> bytes:
    """Return for example `6m0s` or `20s`."""
    minutes, rest = divmod(seconds, 60)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest
