"""Whose fault it is: what answers and errors do to tokens and providers, in any order."""

import random
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from providers import catalogue
from providers.exceptions import (
    AuthRejected,
    Contended,
    Disconnected,
    ModelMissing,
    QuotaExhausted,
    RateLimited,
    Rejected,
    ServerFailed,
    Unreachable,
    UpstreamError,
)
from providers.models import Provider
from providers.upstream.rate_limits import RateLimit
from tokens.outcomes.breaker import CAUSE_LIMITED
from tokens.outcomes.upstream_call import UpstreamCall
from tokens.pool import pool as pool_module
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import PooledToken
from tokens.tests.pool_cast import Clock, freeze_clock

UPSTREAM = catalogue.make_upstream(
    Provider(pk=1, name="p", kind="openai_compatible", base_url="https://api.example.com")
)


def pool_of(count: int, now: float) -> Pool:
    pool = Pool()
    for number in range(1, count + 1):
        pool.find_ring(UPSTREAM).place_entry(PooledToken(UUID(int=number), 1, "sealed"), now)
    return pool


@pytest.fixture
def pool(clock: Clock) -> Pool:
    return pool_of(5, clock.now)


def begin(pool: Pool, number: int, **fields: Any) -> UpstreamCall:
    """A call with the token of this number."""
    health = pool.find_health(UPSTREAM)
    call = UpstreamCall(
        UPSTREAM, pool.find_ring(UPSTREAM).entries[UUID(int=number)], health, **fields
    )
    health.begin_call(call, pool_module.time.monotonic())
    return call


def fail(
    pool: Pool, number: int, kind: type[UpstreamError] = ServerFailed, **fields: Any
) -> UpstreamCall:
    call = begin(pool, number, **fields)
    call.failed_request = pool.record_error(call, kind("made up"))
    return call


def answer(pool: Pool, number: int, **fields: Any) -> None:
    pool.record_answer(begin(pool, number, **fields))


def entry(pool: Pool, number: int) -> PooledToken:
    return pool.find_ring(UPSTREAM).entries[UUID(int=number)]


def list_changes(pool: Pool) -> list[tuple[str, int]]:
    return [(change.effect, change.token_id.int) for change in pool.state_changes]


# --- failing tokens -------------------------------------------------------------------------------
def test_a_token_that_fails_is_put_behind_the_others_but_not_written_down_yet(pool: Pool) -> None:
    fail(pool, 1)
    assert entry(pool, 1).pool_state == "failing"
    assert list_changes(pool) == []


def test_it_is_written_down_when_another_token_answers_the_same_request(pool: Pool) -> None:
    failed = fail(pool, 1).failed_request
    answer(pool, 2, failed_request=failed)
    assert list_changes(pool) == [("fail", 1)]


def test_it_is_written_down_when_the_provider_answers_others(pool: Pool) -> None:
    answer(pool, 2)
    fail(pool, 1)
    assert list_changes(pool) == [("fail", 1)]


def test_its_pauses_grow_up_to_a_most_and_it_is_never_disabled(
    pool: Pool, clock: Clock, settings: Any
) -> None:
    settings.FAILING_SECONDS, settings.MAX_FAILING_SECONDS = 5.0, 60.0
    pauses = []
    for _ in range(8):
        answer(pool, 2)
        fail(pool, 1)
        pauses.append(entry(pool, 1).rests_until - clock.now)
        clock.now = entry(pool, 1).rests_until
    for pause, expected in zip(pauses, [5, 10, 20, 40, 60, 60, 60, 60], strict=True):
        assert expected <= pause <= expected * 1.1
    assert entry(pool, 1).is_enabled


def test_a_token_that_answers_as_a_rule_may_fail_now_and_then(pool: Pool) -> None:
    for _ in range(20):
        answer(pool, 1)
        fail(pool, 1)
        fail(pool, 1)
    assert entry(pool, 1).pool_state == "ready"
    fail(pool, 1)
    assert entry(pool, 1).pool_state == "failing"


def test_an_answer_makes_it_as_good_as_new(pool: Pool) -> None:
    answer(pool, 2)
    fail(pool, 1)
    answer(pool, 1)
    assert (entry(pool, 1).pool_state, entry(pool, 1).failures_in_row) == ("ready", 0)
    assert list_changes(pool) == [("fail", 1), ("absolve", 1)]


def test_the_only_usable_token_is_never_failing(clock: Clock) -> None:
    pool = pool_of(1, clock.now)
    for _ in range(3):
        fail(pool, 1)
    assert entry(pool, 1).pool_state == "ready"


def test_a_provider_that_cannot_be_reached_is_no_tokens_fault(pool: Pool) -> None:
    answer(pool, 2)
    for _ in range(3):
        fail(pool, 1, Unreachable)
    assert entry(pool, 1).pool_state == "ready"


def test_when_the_breaker_opens_tokens_that_just_failed_are_forgiven(pool: Pool) -> None:
    answer(pool, 1)
    for number, caller in ((2, 1), (3, 2), (4, 3), (5, 4), (2, 5), (3, 6)):
        fail(pool, number, caller_id=caller)
    assert pool.find_breaker(UPSTREAM).is_open
    assert {entry(pool, number).pool_state for number in range(1, 6)} == {"ready"}
    assert {deed for deed, _ in list_changes(pool)} <= {"fail", "clear"}
    last = {number: deed for deed, number in list_changes(pool)}
    assert set(last.values()) <= {"clear"}


def test_the_breaker_waits_for_a_running_call_that_is_likely_to_be_answered(
    pool: Pool, clock: Clock
) -> None:
    slow = begin(pool, 5)
    clock.now += 1
    for number in (1, 2, 3, 4, 1, 2, 3, 4):
        fail(pool, number, caller_id=number)
    assert not pool.find_breaker(UPSTREAM).is_open
    assert pool.find_health(UPSTREAM).is_healthy(clock.now)
    pool.record_undecided(slow)
    fail(pool, 1, caller_id=9)
    assert pool.find_breaker(UPSTREAM).is_open


def test_a_provider_that_hangs_and_fails_is_not_promising_for_ever(
    pool: Pool, clock: Clock
) -> None:
    fail(pool, 1, caller_id=1)
    begin(pool, 5)
    clock.now += 16
    for number in (2, 3, 4, 1, 2, 3):
        fail(pool, number, caller_id=number)
    assert pool.find_breaker(UPSTREAM).is_open


# --- limits ---------------------------------------------------------------------------------------
def test_a_token_with_nothing_left_is_left_out_before_it_is_refused(
    pool: Pool, clock: Clock
) -> None:
    call = begin(pool, 1, model_name="m")
    pool.record_limit(call, RateLimit(30.0, is_per_model=False))
    assert entry(pool, 1).pool_state == "limited"
    assert list_changes(pool) == [("rest", 1)]


def test_a_limit_of_one_model_leaves_the_token_to_the_others(pool: Pool, clock: Clock) -> None:
    pool.record_limit(begin(pool, 1, model_name="big"), RateLimit(30.0, is_per_model=True))
    error = RateLimited("made up", retry_after_seconds=60)
    error.is_per_model = True
    call = begin(pool, 2, model_name="big")
    pool.record_error(call, error)
    assert {
        one.id.int for _ in range(9) if (one := pool.pick_token(UPSTREAM, (), model="big"))
    } == {
        3,
        4,
        5,
    }
    assert {
        one.id.int for _ in range(9) if (one := pool.pick_token(UPSTREAM, (), model="small"))
    } == {
        1,
        2,
        3,
        4,
        5,
    }
    assert list_changes(pool) == []
    clock.now += 61
    assert {
        one.id.int for _ in range(9) if (one := pool.pick_token(UPSTREAM, (), model="big"))
    } == {
        1,
        2,
        3,
        4,
        5,
    }


def refuse_for_organization(pool: Pool, number: int, **fields: Any) -> None:
    error = RateLimited("made up", retry_after_seconds=20)
    error.organization = "org-1"
    pool.record_error(begin(pool, number, **fields), error)


def test_a_limit_of_the_organization_rests_the_provider(pool: Pool, clock: Clock) -> None:
    for number in (1, 2, 3):
        refuse_for_organization(pool, number)
    breaker = pool.find_breaker(UPSTREAM)
    assert (breaker.cause, breaker.find_blocked_seconds(clock.now)) == (CAUSE_LIMITED, 20.0)
    assert {entry(pool, number).pool_state for number in (3, 4, 5)} == {"ready"}
    clock.now += 20
    refuse_for_organization(pool, 4, request_id="probe")
    assert breaker.find_blocked_seconds(clock.now) == 20.0
    clock.now += 20
    answer(pool, 5)
    assert not breaker.is_open


def test_tokens_that_are_limited_one_by_one_do_not_rest_the_provider(pool: Pool) -> None:
    for number in (1, 2, 3, 4):
        refuse_for_organization(pool, number)
        answer(pool, 5)
    assert not pool.find_breaker(UPSTREAM).is_open


# --- properties -----------------------------------------------------------------------------------
KINDS = [
    AuthRejected,
    RateLimited,
    QuotaExhausted,
    ServerFailed,
    Disconnected,
    Unreachable,
    Contended,
    ModelMissing,
]
STEPS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.sampled_from([None, Rejected, *KINDS]),
        st.floats(0, 20),
        st.integers(1, 4),
    ),
    max_size=80,
)


@pytest.fixture(scope="module")
def module_clock() -> Iterator[Clock]:
    patch = pytest.MonkeyPatch()
    yield freeze_clock(patch)
    patch.undo()


@examples(derandomize=True, database=None, deadline=None, max_examples=150)
@given(STEPS)
def test_no_sequence_of_answers_breaks_the_rules(module_clock: Clock, steps: list[Any]) -> None:
    clock = module_clock
    random.seed(19)
    pool = pool_of(4, clock.now)
    for turn, (number, kind, pause, caller) in enumerate(steps):
        clock.now += pause
        token, breaker = entry(pool, number), pool.find_breaker(UPSTREAM)
        before = (token.state, token.strikes)
        half_open = breaker.is_open and clock.now >= breaker.open_until
        call = begin(pool, number, caller_id=caller, request_id=str(turn))
        if half_open:  # at most one probe in a half-open window
            assert breaker.find_blocked_seconds(clock.now, 99) is not None
        if kind is None:
            pool.record_answer(call)
            assert not breaker.is_open
        else:
            pool.record_error(call, kind("made up"))
            if (
                kind is not AuthRejected
            ):  # neither callers' faults nor the provider's disable a token
                assert (token.state == "disabled") == (before[0] == "disabled")
                assert token.strikes == before[1]
        health = pool.find_health(UPSTREAM)
        assert not health.running_calls
        assert sum(pool.find_ring(UPSTREAM).count_by_state(clock.now).values()) == 4
    # the upstream heals: every token that is not disabled answers again
    clock.now += 40_000
    for number in range(1, 5):
        if entry(pool, number).is_enabled:
            answer(pool, number)
    ready = {one.id.int for _ in range(12) if (one := pool.pick_token(UPSTREAM, ()))}
    assert ready == {number for number in range(1, 5) if entry(pool, number).is_enabled}
