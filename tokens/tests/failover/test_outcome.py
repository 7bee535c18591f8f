"""What a caller is told, for every combination of token states, breaker and attempts."""

import time
from itertools import product
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from providers import catalogue
from providers.exceptions import (
    AuthRejected,
    DeadlineExceeded,
    ModelMissing,
    NoAvailableToken,
    NoTokenAnswered,
    PoolEmpty,
    PoolResting,
    ProviderDown,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    UpstreamError,
    UpstreamTimeout,
)
from providers.models import Provider
from providers.protocol.request import CHAT, ChatRequest
from providers.protocol.trace import Trace
from tokens.failover.candidate_walk import CandidateWalk
from tokens.failover.outcome import describe_outcome
from tokens.outcomes.breaker import CAUSE_LIMITED
from tokens.pool.caller_tokens import CallerPool
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import PooledToken

UPSTREAM = catalogue.make_upstream(
    Provider(pk=1, name="acme", kind="openai_compatible", base_url="https://api.example.com")
)
NOW = 0.0
STATES: dict[str, dict[str, Any]] = {
    "ready": {},
    "limited": {"rests_until": 40.0},
    "exhausted": {"state": "exhausted", "rests_until": 4_000.0},
    "failing": {"state": "failing", "rests_until": 10.0, "failures_in_row": 1},
    "disabled": {"state": "disabled"},
    "expired": {"valid_until": -1.0},
}
ERRORS: dict[str, UpstreamError | None] = {
    "nothing was asked": None,
    "rejected": AuthRejected("no"),
    "limited": RateLimited("slow down"),
    "out of quota": QuotaExhausted("spent"),
}


def search(
    pool: Pool, last: UpstreamError | None = None, tried: tuple[int, ...] = ()
) -> CandidateWalk:
    candidate: Any = SimpleNamespace(
        adapter=SimpleNamespace(upstream=UPSTREAM, has_single_stream=False),
        model=SimpleNamespace(name="m"),
    )
    trace = Trace(ChatRequest("0" * 32, CHAT, "m", {}))
    found = CandidateWalk(trace.request, [candidate], pool, trace)
    found.tries.last_error, found.tries.failed_token_ids = (
        last,
        {UUID(int=number) for number in tried},
    )
    if last is not None:
        trace.add_attempt("acme", "m").record_end(type(last).__name__)
    return found


def pool_of(*states: str) -> Pool:
    pool, now = Pool(), time.monotonic()
    for number, state in enumerate(states, 1):
        fields = dict(STATES[state])
        for name in ("rests_until", "valid_until"):
            if name in fields:
                fields[name] += now
        pool.find_ring(UPSTREAM).place_entry(
            PooledToken(UUID(int=number), 1, "sealed", **fields), now
        )
    return pool


def expected(states: tuple[str, str], breaker: str, last: str) -> tuple[type, float | None]:
    """The class and the seconds to wait, from the rules of docs/errors.md; token 1 was tried if any
    was.
    """
    untried = states[1:] if last != "nothing was asked" else states
    if "ready" in untried and breaker == "closed" and last != "nothing was asked":
        return NoTokenAnswered, 1
    waits = {"limited": 40.0, "exhausted": 120.0, "failing": 10.0}
    wakes = [waits[state] for state in states if state in waits]
    if breaker != "closed":
        cause = ProviderDown if breaker == "failing" else PoolResting
        if "ready" in states or (wakes and min(wakes) <= 20.0):
            return cause, 20
        if wakes:
            return PoolResting, min(wakes)
    elif wakes:
        return PoolResting, min(wakes)
    if last in ("limited", "out of quota"):
        return PoolResting, 1
    return NoAvailableToken, 60


@pytest.mark.parametrize("last", ERRORS)
@pytest.mark.parametrize("breaker", ["closed", "failing", "limited"])
def test_each_combination_is_told_as_it_is(breaker: str, last: str) -> None:
    for states in product(STATES, repeat=2):
        if (
            last == "nothing was asked"
            and breaker == "closed"
            and {"ready", "failing"} & set(states)
        ):
            continue  # such a token would have been asked
        pool = pool_of(*states)
        if breaker != "closed":
            cause = CAUSE_LIMITED if breaker == "limited" else "failed"
            pool.find_breaker(UPSTREAM).open_circuit(
                time.monotonic(), "made up", cause=cause, seconds=20
            )
        tried = () if last == "nothing was asked" else (1,)
        error = describe_outcome(search(pool, ERRORS[last], tried))
        kind, wait = expected(states, breaker, last)
        assert type(error) is kind, (states, breaker, last, error)
        assert error.retry_after_seconds == pytest.approx(wait, abs=1), (states, breaker, last)
        assert (error.retry_after_seconds or 0) <= 120


def test_the_text_counts_the_tokens_as_they_stand_now() -> None:
    pool = pool_of("limited", "limited", "exhausted", "disabled", "expired")
    text = describe_outcome(search(pool)).message
    assert text == (
        "All upstream tokens for this model are limited "
        "(5 tokens: 2 limited, 1 exhausted, 1 disabled, 1 expired). The first can be asked "
        "again in 40 s."
    )
    for entry in pool.find_ring(UPSTREAM).entries.values():
        entry.state = "disabled"
        pool.find_ring(UPSTREAM).place_entry(entry, time.monotonic())
    text = describe_outcome(search(pool)).message
    assert text == "No upstream token for this model can be used (5 tokens: 5 disabled)."


def test_the_soonest_of_all_tokens_is_named_not_the_first() -> None:
    pool = pool_of("exhausted", "limited", "limited")
    assert describe_outcome(search(pool)).retry_after_seconds == pytest.approx(40, abs=1)


def test_an_open_breaker_is_named_although_tokens_are_limited_too() -> None:
    pool = pool_of("ready", "limited", "disabled")
    pool.find_breaker(UPSTREAM).open_circuit(time.monotonic(), "secret of another caller")
    error = describe_outcome(search(pool))
    assert isinstance(error, ProviderDown)
    assert error.message == "The upstream of this model is failing; it is asked again in 10 s."


def test_an_empty_pool_is_told_apart() -> None:
    error = describe_outcome(search(Pool()))
    assert (type(error), error.retry_after_seconds) == (PoolEmpty, None)


def test_a_request_whose_time_is_over_is_told_so() -> None:
    asked = search(pool_of("ready", "limited"), RateLimited("slow down"), (1,))
    asked.tries.deadline = time.perf_counter() - 1
    assert isinstance(describe_outcome(asked), DeadlineExceeded)


@pytest.mark.parametrize("last", [ServerFailed("x"), UpstreamTimeout("x"), ModelMissing("x")])
def test_the_last_error_of_a_provider_is_told_as_it_is(last: UpstreamError) -> None:
    assert describe_outcome(search(pool_of("ready", "ready"), last, (1,))) is last


@pytest.mark.parametrize(
    ("last", "status"),
    [(AuthRejected("x"), 401), (RateLimited("x"), 429), (QuotaExhausted("x"), 429)],
)
def test_callers_with_tokens_of_their_own_are_told_about_those(
    last: UpstreamError, status: int
) -> None:
    own = CallerPool(pool_of("limited"), ["sk-own-1"])
    error = describe_outcome(search(own, last, (1,)))
    assert error.shown_status == status
    assert "tokens that the request carries" in error.message
