"""How long a token is left out after a rate limit or a used-up quota."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from providers.exceptions import QuotaExhausted, RateLimited
from tokens.outcomes.upstream_call import COOLDOWN, EXHAUST
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import PooledToken
from tokens.tests.pool_cast import UPSTREAM, Clock, error, fail, pick, succeed


def rest_seconds(pool: Pool, clock: Clock, entry: PooledToken) -> float:
    return entry.rests_until - clock.now


@pytest.mark.parametrize(
    ("retry_after_seconds", "least", "most"),
    [
        (7.0, 7, 8),
        (0.0, 1, 1.2),
        (-3_600.0, 1, 1.2),
        (0.25, 1, 1.2),
        (1e9, 3_600, 3_601),
        (3_600.0, 3_600, 3_601),
    ],
)
def test_a_429_rests_the_token_for_retry_after_within_a_second_and_an_hour(
    pool: Pool, clock: Clock, retry_after_seconds: float, least: float, most: float
) -> None:
    limited = pick(pool)
    fail(pool, limited, error(RateLimited, retry_after_seconds))
    assert least <= rest_seconds(pool, clock, limited) <= most
    assert limited.is_enabled
    assert limited.strikes == 0
    assert limited.id not in {pick(pool).id for _ in range(10)}
    clock.now += most
    assert limited.id in {pick(pool).id for _ in range(10)}


def test_a_429_without_retry_after_rests_longer_each_time_up_to_an_hour(
    pool: Pool, clock: Clock, settings: Any
) -> None:
    settings.REST_SECONDS = 5.0
    limited, rests = pick(pool), []
    for _ in range(14):
        fail(pool, limited, error(RateLimited))
        rests.append(rest_seconds(pool, clock, limited))
        clock.now = limited.rests_until + 0.1
    for n, rest in enumerate(rests):
        expected = min(5.0 * 2**n, 3_600.0)
        assert expected <= rest <= expected + 1.0


def test_several_429s_of_one_window_escalate_once(pool: Pool, clock: Clock, settings: Any) -> None:
    settings.REST_SECONDS = 5.0
    limited = pick(pool)
    for _ in range(50):  # fifty requests were in flight on it
        fail(pool, limited, error(RateLimited))
    assert 5.0 <= rest_seconds(pool, clock, limited) <= 6.0
    assert len(pool.state_changes) == 1
    clock.now = limited.rests_until + 0.1
    fail(pool, limited, error(RateLimited))
    assert 10.0 <= rest_seconds(pool, clock, limited) <= 11.0


def test_a_success_ends_the_escalation(pool: Pool, clock: Clock, settings: Any) -> None:
    settings.REST_SECONDS = 5.0
    limited = pick(pool)
    for _ in range(4):
        fail(pool, limited, error(RateLimited))
        clock.now = limited.rests_until + 0.1
    succeed(pool, limited)
    fail(pool, limited, error(RateLimited))
    assert rest_seconds(pool, clock, limited) <= 6.0


def test_a_shorter_retry_after_does_not_shorten_a_rest(pool: Pool, clock: Clock) -> None:
    limited = pick(pool)
    fail(pool, limited, error(RateLimited, 600))
    fail(pool, limited, error(RateLimited, 2))
    assert rest_seconds(pool, clock, limited) >= 600


def test_tokens_that_rest_for_the_same_time_do_not_wake_together(pool: Pool, clock: Clock) -> None:
    random.seed(1)
    for entry in [pick(pool) for _ in range(3)]:
        fail(pool, entry, error(RateLimited, 60))
    assert (
        len({round(entry.rests_until, 6) for entry in pool.find_ring(UPSTREAM).entries.values()})
        == 3
    )


def test_the_note_of_a_rest_carries_its_end_on_the_wall_clock(pool: Pool) -> None:
    limited = pick(pool)
    fail(pool, limited, error(RateLimited, 100))
    [change] = pool.state_changes
    assert (change.effect, change.token_id, change.reason) == (
        COOLDOWN,
        limited.id,
        "rate limit: made up",
    )
    assert change.until is not None
    assert 95 < (change.until - datetime.now(UTC)).total_seconds() < 102


def test_when_all_rest_nothing_is_picked_and_the_soonest_waking_is_told(
    pool: Pool, clock: Clock
) -> None:
    for seconds, entry in zip((300, 20, 100), [pick(pool) for _ in range(3)], strict=True):
        fail(pool, entry, error(RateLimited, seconds))
    assert pool.pick_token(UPSTREAM, ()) is None
    assert 20 <= (pool.find_wait_seconds(UPSTREAM) or 0) <= 21
    assert str(pool.count_by_state(UPSTREAM)) == "3 tokens: 3 limited"


# --- quota ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("retry_after_seconds", [None, 7_200.0])
def test_a_used_up_quota_exhausts_the_token_until_its_reset(
    pool: Pool, clock: Clock, settings: Any, retry_after_seconds: float | None
) -> None:
    settings.QUOTA_REST_SECONDS, settings.MAX_REST_SECONDS = 10_000.0, 3_600.0
    spent = pick(pool)
    fail(pool, spent, error(QuotaExhausted, retry_after_seconds))
    expected = retry_after_seconds or 10_000
    assert expected <= rest_seconds(pool, clock, spent) <= expected + 1
    assert (spent.state, spent.strikes) == ("exhausted", 0)
    assert [change.effect for change in pool.state_changes] == [EXHAUST]
    clock.now += expected + 1
    assert spent.id in {pick(pool).id for _ in range(5)}
    succeed(pool, spent)
    assert spent.state == "active"
    assert pool.state_changes[-1].effect == "absolve"


def test_a_quota_that_is_found_used_up_while_the_token_rests_is_not_overlooked(pool: Pool) -> None:
    spent = pick(pool)
    fail(pool, spent, error(RateLimited, 2))
    fail(pool, spent, error(QuotaExhausted))
    assert spent.state == "exhausted"
    assert [change.effect for change in pool.state_changes] == [COOLDOWN, EXHAUST]
