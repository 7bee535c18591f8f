"""No sequence of answers and errors breaks the rules of tokens and providers."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

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
)
from tokens.tests.outcomes.pool_calls import answer_call, begin_call, find_entry, make_pool
from tokens.tests.pool_cast import UPSTREAM, Clock, freeze_clock

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
    pool = make_pool(4, clock.now)
    for turn, (number, kind, pause, caller) in enumerate(steps):
        clock.now += pause
        token, breaker = find_entry(pool, number), pool.find_breaker(UPSTREAM)
        before = (token.state, token.strikes)
        half_open = breaker.is_open and clock.now >= breaker.open_until
        call = begin_call(pool, number, caller_id=caller, request_id=str(turn))
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
        if find_entry(pool, number).is_enabled:
            answer_call(pool, number)
    ready = {one.id.int for _ in range(12) if (one := pool.pick_token(UPSTREAM, ()))}
    assert ready == {number for number in range(1, 5) if find_entry(pool, number).is_enabled}
