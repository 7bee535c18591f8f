"""The headers of an answer that say what is left of the caller's limits.

The names and the form of times are OpenAI's
(https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers).
"""

import time
from collections.abc import Iterable

from api.limits.allowance import Allowance
from api.limits.caller_limits import WINDOWED, CallerLimits
from api.limits.limit_keeper import LimitKeeper

HEADER_SUFFIXES = dict(zip(WINDOWED, (b"requests", b"tokens"), strict=True))
Headers = list[tuple[bytes, bytes]]


def render_limit_headers(keeper: LimitKeeper, limits: CallerLimits) -> Headers:
    """Return the headers about requests and tokens a minute; of several limits, the tightest."""
    now = time.time()
    headers: Headers = []
    for resource, suffix in HEADER_SUFFIXES.items():
        rules = [rule for rule in limits.rules if rule.resource is resource]
        if rules:
            tightest = find_tightest(keeper.read_allowance(rule, now) for rule in rules)
            headers += [
                (b"x-ratelimit-limit-" + suffix, b"%d" % tightest.limit),
                (b"x-ratelimit-remaining-" + suffix, b"%d" % tightest.remaining),
                (b"x-ratelimit-reset-" + suffix, render_reset(tightest)),
            ]
    return headers


def find_tightest(allowances: Iterable[Allowance]) -> Allowance:
    """Return the allowance of which least is left."""
    return min(allowances, key=lambda allowance: allowance.remaining)


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
    minutes, rest = divmod(round(seconds), 60)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest
