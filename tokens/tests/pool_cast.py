"""Tokens of one provider in a pool in memory, and the results of calls with them."""

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from providers import catalogue
from providers.exceptions import UpstreamError
from providers.models import Provider
from providers.upstream.base_adapter import Upstream
from tokens.models import UpstreamToken
from tokens.outcomes import consequences, cooldowns, failing_tokens
from tokens.outcomes.upstream_call import UpstreamCall
from tokens.pool import pool as pool_module
from tokens.pool import token_directory
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import PooledToken
from tokens.pool.token_loader import TokenRow, TokenRows


def make_upstream(**fields: Any) -> Upstream:
    row = {
        "pk": 1,
        "name": "p",
        "kind": "openai_compatible",
        "base_url": "https://api.example.com",
    } | fields
    return catalogue.make_upstream(Provider(**row))


UPSTREAM = make_upstream()


def make_rows(*tokens: UpstreamToken, version: int = 1, whole: bool = True) -> TokenRows:
    rows = [TokenRow(*(getattr(token, name) for name in TokenRow._fields)) for token in tokens]
    return TokenRows(version, whole, rows)


def make_token(number: int, provider: int = 1, **fields: Any) -> UpstreamToken:
    found = UpstreamToken.from_secret(
        Provider(pk=provider), f"sk-made-up-{number}", id=UUID(int=number), changed=1
    )
    for name, value in fields.items():
        setattr(found, name, value)
    return found


class Clock:
    """The monotonic clock of the pool; wall time stays real."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


def pick(pool: Pool, tried: tuple[UUID, ...] = ()) -> PooledToken:
    found = pool.pick_token(UPSTREAM, tried)
    assert found is not None
    return found


def fail(pool: Pool, entry: PooledToken | None, error: UpstreamError) -> None:
    pool.record_error(UpstreamCall(UPSTREAM, entry, pool.find_health(UPSTREAM)), error)


def succeed(pool: Pool, entry: PooledToken | None) -> None:
    pool.record_answer(UpstreamCall(UPSTREAM, entry, pool.find_health(UPSTREAM)))


def error(kind: type[UpstreamError], retry_after_seconds: float | None = None) -> UpstreamError:
    return kind("made up", retry_after_seconds=retry_after_seconds)


def freeze_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still in all modules that decide by time."""
    clock = Clock()
    for module in (pool_module, token_directory, consequences, failing_tokens, cooldowns):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock
