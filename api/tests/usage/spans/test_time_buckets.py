"""The buckets of answer times, and percentiles of them."""

import random

import pytest
from django.db import connection

from api.usage.spans.time_buckets import (
    BOUNDS,
    compute_percentile,
    find_bucket,
    get_bucket_time,
    render_bucket,
)

MEASURED = (0.0, 0.5, 1.0, 1.2, 1.3, 99.9, 1_000.0, 61_000.25, BOUNDS[40], BOUNDS[-1], 9e9)


def test_the_time_of_a_bucket_is_less_than_ten_percent_away_from_those_in_it() -> None:
    chance = random.Random(1)
    for _ in range(2_000):
        milliseconds = 10 ** chance.uniform(0, 6.5)
        shown = get_bucket_time(find_bucket(milliseconds))
        assert abs(shown - milliseconds) / milliseconds < 0.10


def test_percentiles_are_near_those_of_the_times_themselves() -> None:
    chance = random.Random(2)
    times = sorted(chance.lognormvariate(6, 1) for _ in range(5_000))
    counts: dict[int, int] = {}
    for milliseconds in times:
        bucket = find_bucket(milliseconds)
        counts[bucket] = counts.get(bucket, 0) + 1
    for share in (0.5, 0.95):
        exact = times[int(len(times) * share) - 1]
        found = compute_percentile(counts, share)
        assert found is not None
        assert abs(found - exact) / exact < 0.10


def test_without_a_request_there_is_no_percentile() -> None:
    assert compute_percentile({}, 0.5) is None


@pytest.mark.django_db
def test_the_database_finds_the_same_bucket() -> None:
    expression = render_bucket(connection.vendor, "measured")
    kind = "double precision" if connection.vendor == "postgresql" else "real"
    with connection.cursor() as cursor:
        for milliseconds in MEASURED:
            cursor.execute(
                f"SELECT {expression} FROM (SELECT CAST(%s AS {kind}) AS measured) AS times",
                [milliseconds],
            )
            assert cursor.fetchone()[0] == find_bucket(milliseconds)
