"""Calls with the numbered tokens of a pool, and their results."""

from typing import Any
from uuid import UUID

from providers.exceptions import RateLimited, ServerFailed, UpstreamError
from tokens.outcomes.upstream_call import UpstreamCall
from tokens.pool import pool as pool_module
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import PooledToken
from tokens.tests.pool_cast import UPSTREAM


def make_pool(count: int, now: float) -> Pool:
    pool = Pool()
    for number in range(1, count + 1):
        pool.find_ring(UPSTREAM).place_entry(PooledToken(UUID(int=number), 1, "sealed"), now)
    return pool


def begin_call(pool: Pool, number: int, **fields: Any) -> UpstreamCall:
    """A call with the token of this number."""
    health = pool.find_health(UPSTREAM)
    call = UpstreamCall(
        UPSTREAM, pool.find_ring(UPSTREAM).entries[UUID(int=number)], health, **fields
    )
    health.begin_call(call, pool_module.time.monotonic())
    return call


def fail_call(
    pool: Pool, number: int, kind: type[UpstreamError] = ServerFailed, **fields: Any
) -> UpstreamCall:
    call = begin_call(pool, number, **fields)
    call.failed_request = pool.record_error(call, kind("made up"))
    return call


def answer_call(pool: Pool, number: int, **fields: Any) -> None:
    pool.record_answer(begin_call(pool, number, **fields))


def find_entry(pool: Pool, number: int) -> PooledToken:
    return pool.find_ring(UPSTREAM).entries[UUID(int=number)]


def list_changes(pool: Pool) -> list[tuple[str, int]]:
    return [(change.effect, change.token_id.int) for change in pool.state_changes]


def limit_organization(pool: Pool, number: int, **fields: Any) -> None:
    error = RateLimited("made up", retry_after_seconds=20)
    error.organization = "org-1"
    pool.record_error(begin_call(pool, number, **fields), error)
