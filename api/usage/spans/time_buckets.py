"""The buckets in which answer times are counted, and percentiles of such counts.

Each bucket is 20 % wider than the one before. A time is given as the geometric middle of its
bucket, which is less than 10 % away from any time in it.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping

GROWTH = 1.2
BOUND_COUNT = 84
# milliseconds at which buckets begin: bucket 0 ends at 1 ms, the last begins at about one hour
BOUNDS = tuple(round(GROWTH**number, 6) for number in range(BOUND_COUNT))


def find_bucket(milliseconds: float) -> int:
    """Return the bucket of a time: how many of BOUNDS are not above it."""
    return bisect_right(BOUNDS, milliseconds)


def get_bucket_time(bucket: int) -> float:
    """Return the time in milliseconds that stands for all of a bucket."""
    if bucket <= 0:
        return BOUNDS[0]
    if bucket >= BOUND_COUNT:
        return BOUNDS[-1]
    return math.sqrt(BOUNDS[bucket - 1] * BOUNDS[bucket])


def compute_percentile(counts: Mapping[int, int], share: float) -> float | None:
    """Return the time in milliseconds that a share of the requests does not exceed.

    `counts` has the requests of each bucket. Returns None when there is none.
    """
    total = sum(counts.values())
    if total <= 0:
        return None
    wanted = max(1, math.ceil(total * share))
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= wanted:
            return get_bucket_time(bucket)
    return None


# --- in SQL ---------------------------------------------------------------------------------------
def render_bucket(vendor: str, column: str) -> str:
    """Return the SQL expression for the bucket of a column of milliseconds."""
    if vendor == "postgresql":
        bounds = ", ".join(map(repr, BOUNDS))
        return f"width_bucket({column}, ARRAY[{bounds}]::double precision[])"
    return render_choice(column, 0, BOUND_COUNT)


def render_choice(column: str, lowest: int, highest: int) -> str:
    """Return the expression that finds a bucket from `lowest` to `highest` by halves."""
    if lowest == highest:
        return str(lowest)
    middle = (lowest + highest) // 2
    lower = render_choice(column, lowest, middle)
    upper = render_choice(column, middle + 1, highest)
    return f"CASE WHEN {column} < {BOUNDS[middle]!r} THEN {lower} ELSE {upper} END"
