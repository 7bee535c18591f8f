"""Failing tokens: whose fault it is, when it is written, and when it is forgiven."""

from typing import Any

import pytest

from providers.exceptions import Unreachable
from tokens.pool.pool import Pool
from tokens.tests.outcomes.pool_calls import (
    answer_call,
    begin_call,
    fail_call,
    find_entry,
    list_changes,
    make_pool,
)
from tokens.tests.pool_cast import UPSTREAM, Clock


@pytest.fixture
def pool(clock: Clock) -> Pool:
    return make_pool(5, clock.now)


def test_a_token_that_fails_is_put_behind_the_others_but_not_written_down_yet(pool: Pool) -> None:
    fail_call(pool, 1)
    assert find_entry(pool, 1).pool_state == "failing"
    assert list_changes(pool) == []


def test_it_is_written_down_when_another_token_answers_the_same_request(pool: Pool) -> None:
    failed = fail_call(pool, 1).failed_request
    answer_call(pool, 2, failed_request=failed)
    assert list_changes(pool) == [("fail", 1)]


def test_it_is_written_down_when_the_provider_answers_others(pool: Pool) -> None:
    answer_call(pool, 2)
    fail_call(pool, 1)
    assert list_changes(pool) == [("fail", 1)]


def test_its_pauses_grow_up_to_a_most_and_it_is_never_disabled(
    pool: Pool, clock: Clock, settings: Any
) -> None:
    settings.FAILING_SECONDS, settings.MAX_FAILING_SECONDS = 5.0, 60.0
    pauses = []
    for _ in range(8):
        answer_call(pool, 2)
        fail_call(pool, 1)
        pauses.append(find_entry(pool, 1).rests_until - clock.now)
        clock.now = find_entry(pool, 1).rests_until
    for pause, expected in zip(pauses, [5, 10, 20, 40, 60, 60, 60, 60], strict=True):
        assert expected <= pause <= expected * 1.1
    assert find_entry(pool, 1).is_enabled


def test_a_token_that_answers_as_a_rule_may_fail_now_and_then(pool: Pool) -> None:
    for _ in range(20):
        answer_call(pool, 1)
        fail_call(pool, 1)
        fail_call(pool, 1)
    assert find_entry(pool, 1).pool_state == "ready"
    fail_call(pool, 1)
    assert find_entry(pool, 1).pool_state == "failing"


def test_an_answer_makes_it_as_good_as_new(pool: Pool) -> None:
    answer_call(pool, 2)
    fail_call(pool, 1)
    answer_call(pool, 1)
    assert (find_entry(pool, 1).pool_state, find_entry(pool, 1).failures_in_row) == ("ready", 0)
    assert list_changes(pool) == [("fail", 1), ("absolve", 1)]


def test_the_only_usable_token_is_never_failing(clock: Clock) -> None:
    pool = make_pool(1, clock.now)
    for _ in range(3):
        fail_call(pool, 1)
    assert find_entry(pool, 1).pool_state == "ready"


def test_a_provider_that_cannot_be_reached_is_no_tokens_fault(pool: Pool) -> None:
    answer_call(pool, 2)
    for _ in range(3):
        fail_call(pool, 1, Unreachable)
    assert find_entry(pool, 1).pool_state == "ready"


def test_when_the_breaker_opens_tokens_that_just_failed_are_forgiven(pool: Pool) -> None:
    answer_call(pool, 1)
    for number, caller in ((2, 1), (3, 2), (4, 3), (5, 4), (2, 5), (3, 6)):
        fail_call(pool, number, caller_id=caller)
    assert pool.find_breaker(UPSTREAM).is_open
    assert {find_entry(pool, number).pool_state for number in range(1, 6)} == {"ready"}
    assert {deed for deed, _ in list_changes(pool)} <= {"fail", "clear"}
    last = {number: deed for deed, number in list_changes(pool)}
    assert set(last.values()) <= {"clear"}


def test_the_breaker_waits_for_a_running_call_that_is_likely_to_be_answered(
    pool: Pool, clock: Clock
) -> None:
    slow = begin_call(pool, 5)
    clock.now += 1
    for number in (1, 2, 3, 4, 1, 2, 3, 4):
        fail_call(pool, number, caller_id=number)
    assert not pool.find_breaker(UPSTREAM).is_open
    assert pool.find_health(UPSTREAM).is_healthy(clock.now)
    pool.record_undecided(slow)
    fail_call(pool, 1, caller_id=9)
    assert pool.find_breaker(UPSTREAM).is_open


def test_a_provider_that_hangs_and_fails_is_not_promising_for_ever(
    pool: Pool, clock: Clock
) -> None:
    fail_call(pool, 1, caller_id=1)
    begin_call(pool, 5)
    clock.now += 16
    for number in (2, 3, 4, 1, 2, 3):
        fail_call(pool, number, caller_id=number)
    assert pool.find_breaker(UPSTREAM).is_open
