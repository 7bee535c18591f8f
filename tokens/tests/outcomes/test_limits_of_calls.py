"""Limits that an answer tells: of a token, of a model, of an organization."""

import pytest

from providers.exceptions import RateLimited
from providers.upstream.rate_limits import RateLimit
from tokens.outcomes.breaker import CAUSE_LIMITED
from tokens.pool.pool import Pool
from tokens.tests.outcomes.pool_calls import (
    answer_call,
    begin_call,
    find_entry,
    limit_organization,
    list_changes,
    make_pool,
)
from tokens.tests.pool_cast import UPSTREAM, Clock


@pytest.fixture
def pool(clock: Clock) -> Pool:
    return make_pool(5, clock.now)


def test_a_token_with_nothing_left_is_left_out_before_it_is_refused(
    pool: Pool, clock: Clock
) -> None:
    call = begin_call(pool, 1, model_name="m")
    pool.record_limit(call, RateLimit(30.0, is_per_model=False))
    assert find_entry(pool, 1).pool_state == "limited"
    assert list_changes(pool) == [("rest", 1)]


def test_a_limit_of_one_model_leaves_the_token_to_the_others(pool: Pool, clock: Clock) -> None:
    pool.record_limit(begin_call(pool, 1, model_name="big"), RateLimit(30.0, is_per_model=True))
    error = RateLimited("made up", retry_after_seconds=60)
    error.is_per_model = True
    call = begin_call(pool, 2, model_name="big")
    pool.record_error(call, error)
    assert {
        one.id.int for _ in range(9) if (one := pool.pick_token(UPSTREAM, (), model="big"))
    } == {3, 4, 5}
    assert {
        one.id.int for _ in range(9) if (one := pool.pick_token(UPSTREAM, (), model="small"))
    } == {1, 2, 3, 4, 5}
    assert list_changes(pool) == []
    clock.now += 61
    assert {
        one.id.int for _ in range(9) if (one := pool.pick_token(UPSTREAM, (), model="big"))
    } == {1, 2, 3, 4, 5}


def test_a_limit_of_the_organization_rests_the_provider(pool: Pool, clock: Clock) -> None:
    for number in (1, 2, 3):
        limit_organization(pool, number)
    breaker = pool.find_breaker(UPSTREAM)
    assert (breaker.cause, breaker.find_blocked_seconds(clock.now)) == (CAUSE_LIMITED, 20.0)
    assert {find_entry(pool, number).pool_state for number in (3, 4, 5)} == {"ready"}
    clock.now += 20
    limit_organization(pool, 4, request_id="probe")
    assert breaker.find_blocked_seconds(clock.now) == 20.0
    clock.now += 20
    answer_call(pool, 5)
    assert not breaker.is_open


def test_tokens_that_are_limited_one_by_one_do_not_rest_the_provider(pool: Pool) -> None:
    for number in (1, 2, 3, 4):
        limit_organization(pool, number)
        answer_call(pool, 5)
    assert not pool.find_breaker(UPSTREAM).is_open
