"""Each error strikes its token, cools it down or counts against its provider, and nobody else."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from providers.exceptions import (
    AuthRejected,
    BadResponse,
    BadTls,
    Contended,
    Disconnected,
    ModelMissing,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Rejected,
    ServerFailed,
    UnexpectedRedirect,
    Unreachable,
    UnreadableToken,
    UpstreamError,
    UpstreamTimeout,
)
from tokens.outcomes.consequences import find_consequence
from tokens.outcomes.upstream_call import AGAINST_PROVIDER, COOLDOWN, EXHAUST, STRIKE, UNREADABLE
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import FOREVER, PooledToken
from tokens.tests.pool_cast import UPSTREAM, Clock, error, fail, make_upstream, pick, succeed

PROVIDER_ERRORS = [
    Unreachable,
    BadTls,
    BadResponse,
    UnexpectedRedirect,
    Disconnected,
    ServerFailed,
    UpstreamTimeout,
]
NOT_THE_TOKENS = [Rejected, ModelMissing, Contended]


@pytest.mark.parametrize(
    ("kind", "effect"),
    [
        (AuthRejected, STRIKE),
        (RateLimited, COOLDOWN),
        (QuotaExhausted, EXHAUST),
        (UnreadableToken, UNREADABLE),
        *((kind, AGAINST_PROVIDER) for kind in PROVIDER_ERRORS),
        *((kind, None) for kind in NOT_THE_TOKENS),
    ],
)
def test_each_error_has_its_consequence(kind: type[UpstreamError], effect: str | None) -> None:
    assert find_consequence(error(kind)) == effect


def test_no_error_of_the_tree_is_forgotten() -> None:
    def leaves(kind: type) -> list[type]:
        below = kind.__subclasses__()
        return [leaf for one in below for leaf in leaves(one)] if below else [kind]

    known = {
        AuthRejected,
        RateLimited,
        QuotaExhausted,
        UnreadableToken,
        *PROVIDER_ERRORS,
        *NOT_THE_TOKENS,
    }
    own_leaves = {
        leaf
        for leaf in leaves(UpstreamError)
        if leaf.__module__.startswith("providers.exceptions.")
    }
    assert own_leaves == known


ERRORS = st.sampled_from([*NOT_THE_TOKENS, *PROVIDER_ERRORS])


@examples(derandomize=True, database=None, deadline=None, max_examples=150)
@given(st.lists(st.tuples(ERRORS, st.none() | st.floats(-10, 1e9)), max_size=40))
def test_no_sequence_of_errors_of_callers_and_providers_harms_a_token(
    told: list[tuple[Any, float | None]],
) -> None:
    pool = Pool()
    entries = [PooledToken(UUID(int=number), 1, "sealed", strikes=number) for number in (1, 2)]
    for entry in entries:
        pool.find_ring(UPSTREAM).place_entry(entry, 0.0)
    for kind, retry_after_seconds in told:
        fail(pool, entries[0], error(kind, retry_after_seconds))
    assert [
        (entry.strikes, entry.cooldowns_in_row, entry.valid_until, entry.is_enabled)
        for entry in entries
    ] == [
        (1, 0, FOREVER, True),
        (2, 0, FOREVER, True),
    ]
    assert not pool.state_changes
    asked = {pick(pool).id}  # the token that failed comes last, and is asked when there is no other
    asked |= {
        one.id
        for one in (pool.pick_token(UPSTREAM, asked), pool.pick_failing_token(UPSTREAM, asked))
        if one
    }
    assert asked == {entry.id for entry in entries}


# --- strikes --------------------------------------------------------------------------------------
def test_three_consecutive_strikes_disable_a_token_and_the_others_go_on(
    pool: Pool, settings: Any
) -> None:
    settings.MAX_TOKEN_FAILURES = 3
    struck = pick(pool)
    for strikes in (1, 2, 3):
        assert struck.is_enabled
        fail(pool, struck, error(AuthRejected))
        assert struck.strikes == strikes
    assert not struck.is_enabled
    assert struck.id not in {pick(pool).id for _ in range(10)}
    assert [(change.effect, change.token_id) for change in pool.state_changes] == [
        (STRIKE, struck.id)
    ] * 3
    assert pool.state_changes[0].reason == "auth: made up"


def test_a_success_in_between_resets_the_strikes(pool: Pool) -> None:
    struck = pick(pool)
    for _ in range(5):
        fail(pool, struck, error(AuthRejected))
        fail(pool, struck, error(AuthRejected))
        succeed(pool, struck)
        assert struck.strikes == 0
    assert struck.is_enabled
    assert [change.effect for change in pool.state_changes] == [STRIKE, STRIKE, "absolve"] * 5


def test_a_success_of_a_healthy_token_writes_nothing(pool: Pool) -> None:
    succeed(pool, pick(pool))
    assert not pool.state_changes


def test_a_late_success_does_not_enable_a_token_that_was_disabled(pool: Pool, clock: Clock) -> None:
    late = pick(pool)
    for _ in range(3):
        fail(pool, late, error(AuthRejected))
    succeed(pool, late)  # of a request that began before
    assert not late.is_enabled
    fail(pool, late, error(RateLimited, 2))  # of another one
    clock.now += 60
    assert late.id not in {pick(pool).id for _ in range(10)}


def test_a_limit_of_one_disables_at_the_first_strike(pool: Pool, settings: Any) -> None:
    settings.MAX_TOKEN_FAILURES = 1
    struck = pick(pool)
    fail(pool, struck, error(AuthRejected))
    assert not struck.is_enabled


# --- providers ------------------------------------------------------------------------------------
def test_failures_of_the_provider_open_its_breaker_and_an_answer_closes_it(
    pool: Pool, settings: Any
) -> None:
    for _ in range(settings.BREAKER_FAILURES):
        assert pool.find_breaker(UPSTREAM).find_blocked_seconds(1_000.0) is None
        fail(pool, pick(pool), error(ServerFailed))
    assert pool.find_breaker(UPSTREAM).find_blocked_seconds(1_000.0) is not None
    succeed(pool, pick(pool))
    assert pool.find_breaker(UPSTREAM).find_blocked_seconds(1_000.0) is None


@pytest.mark.parametrize(
    "kind", [Rejected, AuthRejected, RateLimited, QuotaExhausted, ModelMissing]
)
def test_an_answer_of_any_other_kind_shows_that_the_provider_works(
    pool: Pool, kind: type[UpstreamError]
) -> None:
    for _ in range(50):
        fail(pool, None, error(ServerFailed))
        fail(pool, None, error(kind))
    assert pool.find_breaker(UPSTREAM).find_blocked_seconds(1_000.0) is None


def test_each_provider_has_a_breaker_of_its_own(pool: Pool) -> None:
    other = make_upstream(pk=2, name="q")
    for _ in range(50):
        fail(pool, None, error(ProviderError))
    assert pool.find_breaker(other).find_blocked_seconds(1_000.0) is None


def test_uses_and_failures_are_counted_per_token(pool: Pool) -> None:
    one = pick(pool)
    succeed(pool, one)
    for kind in (Rejected, AuthRejected, RateLimited, ServerFailed):
        fail(pool, one, error(kind))
    assert pool.unwritten_uses == {one.id: [5, 3]}


def test_a_call_without_a_token_counts_for_none(pool: Pool) -> None:
    succeed(pool, None)
    for kind in (Rejected, AuthRejected, RateLimited, QuotaExhausted, ServerFailed):
        fail(pool, None, error(kind))
    assert (pool.unwritten_uses, list(pool.state_changes)) == ({}, [])
