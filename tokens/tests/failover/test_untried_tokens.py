"""No error says that all tokens are limited while one of them was never tried."""

import re
import time

from providers.exceptions import NoTokenAnswered, PoolResting, RateLimited
from tokens.failover.outcome import describe_outcome
from tokens.outcomes.breaker import CAUSE_LIMITED
from tokens.tests.failover.test_outcome import UPSTREAM, pool_of, search


def test_a_request_that_may_make_no_further_call_names_the_tokens_that_are_left() -> None:
    walk = search(pool_of("limited", "limited", "limited", "ready"), RateLimited("x"), (1, 2, 3))
    error = describe_outcome(walk)
    assert isinstance(error, NoTokenAnswered)
    assert error.message.startswith("3 of 4 upstream tokens were tried and none answered")
    assert error.message.endswith("Others are left: ask again.")
    assert error.retry_after_seconds == 1


def test_an_upstream_that_limits_all_its_tokens_together_is_named_so() -> None:
    pool = pool_of("limited", "limited", "limited", "ready")
    pool.find_breaker(UPSTREAM).open_circuit(
        time.monotonic(), "slow down", cause=CAUSE_LIMITED, seconds=20
    )
    error = describe_outcome(search(pool, RateLimited("x"), (1, 2, 3)))
    assert isinstance(error, PoolResting)
    assert re.fullmatch(
        r"The upstream limits the requests of all its tokens together "
        r"\(4 tokens: 1 ready, 3 limited\)\. It is asked again in (20|21) s\.",
        error.message,
    )
    assert 19 <= (error.retry_after_seconds or 0) <= 20
