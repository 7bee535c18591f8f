import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from providers import catalogue, vault
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
from providers.models import Provider
from providers.upstream.base_adapter import Upstream
from providers.vault import VaultError
from tokens.models import UpstreamToken
from tokens.outcomes import consequences, cooldowns, failing_tokens
from tokens.outcomes.consequences import find_consequence
from tokens.outcomes.upstream_call import (
    AGAINST_PROVIDER,
    COOLDOWN,
    EXHAUST,
    STRIKE,
    UNREADABLE,
    UpstreamCall,
)
from tokens.pool import pool as pool_module
from tokens.pool import token_directory
from tokens.pool.pool import Pool
from tokens.pool.pooled_token import FOREVER, PooledToken
from tokens.pool.token_loader import TokenRow, TokenRows

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


def upstream(**fields: Any) -> Upstream:
    row = {
        "pk": 1,
        "name": "p",
        "kind": "openai_compatible",
        "base_url": "https://api.example.com",
    } | fields
    return catalogue.make_upstream(Provider(**row))


UPSTREAM = upstream()


def rows_of(*tokens: UpstreamToken, version: int = 1, whole: bool = True) -> TokenRows:
    rows = [TokenRow(*(getattr(token, name) for name in TokenRow._fields)) for token in tokens]
    return TokenRows(version, whole, rows)


def token(number: int, provider: int = 1, **fields: Any) -> UpstreamToken:
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    for module in (pool_module, token_directory, consequences, failing_tokens, cooldowns):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=found.monotonic))
    return found


@pytest.fixture
async def pool(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Pool:
    found = Pool()
    monkeypatch.setattr(found, "shuffle_rotations", lambda: None)  # the tests count on the order
    await found.apply_rows(rows_of(*(token(number) for number in (1, 2, 3))))
    return found


def picked(pool: Pool, tried: tuple[UUID, ...] = ()) -> PooledToken:
    found = pool.pick_token(UPSTREAM, tried)
    assert found is not None
    return found


def fail(pool: Pool, entry: PooledToken | None, error: UpstreamError) -> None:
    pool.record_error(UpstreamCall(UPSTREAM, entry, pool.find_health(UPSTREAM)), error)


def succeed(pool: Pool, entry: PooledToken | None) -> None:
    pool.record_answer(UpstreamCall(UPSTREAM, entry, pool.find_health(UPSTREAM)))


def error(kind: type[UpstreamError], retry_after_seconds: float | None = None) -> UpstreamError:
    return kind("made up", retry_after_seconds=retry_after_seconds)


def state(entry: PooledToken) -> tuple[Any, ...]:
    return (
        entry.state,
        entry.strikes,
        entry.rests_until,
        entry.cooldowns_in_row,
        entry.valid_until,
        entry.is_enabled,
    )


# --- the table ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "deed"),
    [
        (AuthRejected, STRIKE),
        (RateLimited, COOLDOWN),
        (QuotaExhausted, EXHAUST),
        (UnreadableToken, UNREADABLE),
        *((kind, AGAINST_PROVIDER) for kind in PROVIDER_ERRORS),
        *((kind, None) for kind in NOT_THE_TOKENS),
    ],
)
def test_each_error_has_its_consequence(kind: type[UpstreamError], deed: str | None) -> None:
    assert find_consequence(error(kind)) == deed


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
    assert {
        leaf for leaf in leaves(UpstreamError) if leaf.__module__ == "providers.exceptions"
    } == known


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
    asked = {
        picked(pool).id
    }  # the token that failed comes last, and is asked when there is no other
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
    struck = picked(pool)
    for strikes in (1, 2, 3):
        assert struck.is_enabled
        fail(pool, struck, error(AuthRejected))
        assert struck.strikes == strikes
    assert not struck.is_enabled
    assert struck.id not in {picked(pool).id for _ in range(10)}
    assert [(note.effect, note.token_id) for note in pool.state_changes] == [
        (STRIKE, struck.id)
    ] * 3
    assert pool.state_changes[0].reason == "auth: made up"


def test_a_success_in_between_resets_the_strikes(pool: Pool) -> None:
    struck = picked(pool)
    for _ in range(5):
        fail(pool, struck, error(AuthRejected))
        fail(pool, struck, error(AuthRejected))
        succeed(pool, struck)
        assert struck.strikes == 0
    assert struck.is_enabled
    assert [note.effect for note in pool.state_changes] == [STRIKE, STRIKE, "absolve"] * 5


def test_a_success_of_a_healthy_token_writes_nothing(pool: Pool) -> None:
    succeed(pool, picked(pool))
    assert not pool.state_changes


def test_a_late_success_does_not_enable_a_token_that_was_disabled(pool: Pool, clock: Clock) -> None:
    late = picked(pool)
    for _ in range(3):
        fail(pool, late, error(AuthRejected))
    succeed(pool, late)  # of a request that began before
    assert not late.is_enabled
    fail(pool, late, error(RateLimited, 2))  # of another one
    clock.now += 60
    assert late.id not in {picked(pool).id for _ in range(10)}


def test_a_limit_of_one_disables_at_the_first_strike(pool: Pool, settings: Any) -> None:
    settings.MAX_TOKEN_FAILURES = 1
    struck = picked(pool)
    fail(pool, struck, error(AuthRejected))
    assert not struck.is_enabled


# --- rests ----------------------------------------------------------------------------------------
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
    limited = picked(pool)
    fail(pool, limited, error(RateLimited, retry_after_seconds))
    assert least <= rest_seconds(pool, clock, limited) <= most
    assert limited.is_enabled
    assert limited.strikes == 0
    assert limited.id not in {picked(pool).id for _ in range(10)}
    clock.now += most
    assert limited.id in {picked(pool).id for _ in range(10)}


def test_a_429_without_retry_after_rests_longer_each_time_up_to_an_hour(
    pool: Pool, clock: Clock, settings: Any
) -> None:
    settings.REST_SECONDS = 5.0
    limited, rests = picked(pool), []
    for _ in range(14):
        fail(pool, limited, error(RateLimited))
        rests.append(rest_seconds(pool, clock, limited))
        clock.now = limited.rests_until + 0.1
    for n, rest in enumerate(rests):
        expected = min(5.0 * 2**n, 3_600.0)
        assert expected <= rest <= expected + 1.0


def test_several_429s_of_one_window_escalate_once(pool: Pool, clock: Clock, settings: Any) -> None:
    settings.REST_SECONDS = 5.0
    limited = picked(pool)
    for _ in range(50):  # fifty requests were in flight on it
        fail(pool, limited, error(RateLimited))
    assert 5.0 <= rest_seconds(pool, clock, limited) <= 6.0
    assert len(pool.state_changes) == 1
    clock.now = limited.rests_until + 0.1
    fail(pool, limited, error(RateLimited))
    assert 10.0 <= rest_seconds(pool, clock, limited) <= 11.0


def test_a_success_ends_the_escalation(pool: Pool, clock: Clock, settings: Any) -> None:
    settings.REST_SECONDS = 5.0
    limited = picked(pool)
    for _ in range(4):
        fail(pool, limited, error(RateLimited))
        clock.now = limited.rests_until + 0.1
    succeed(pool, limited)
    fail(pool, limited, error(RateLimited))
    assert rest_seconds(pool, clock, limited) <= 6.0


def test_a_shorter_retry_after_does_not_shorten_a_rest(pool: Pool, clock: Clock) -> None:
    limited = picked(pool)
    fail(pool, limited, error(RateLimited, 600))
    fail(pool, limited, error(RateLimited, 2))
    assert rest_seconds(pool, clock, limited) >= 600


def test_tokens_that_rest_for_the_same_time_do_not_wake_together(pool: Pool, clock: Clock) -> None:
    random.seed(1)
    for entry in [picked(pool) for _ in range(3)]:
        fail(pool, entry, error(RateLimited, 60))
    assert (
        len({round(entry.rests_until, 6) for entry in pool.find_ring(UPSTREAM).entries.values()})
        == 3
    )


def test_the_note_of_a_rest_carries_its_end_on_the_wall_clock(pool: Pool) -> None:
    limited = picked(pool)
    fail(pool, limited, error(RateLimited, 100))
    [note] = pool.state_changes
    assert (note.effect, note.token_id, note.reason) == (
        COOLDOWN,
        limited.id,
        "rate limit: made up",
    )
    assert note.until is not None
    assert 95 < (note.until - datetime.now(UTC)).total_seconds() < 102


def test_when_all_rest_nothing_is_picked_and_the_soonest_waking_is_told(
    pool: Pool, clock: Clock
) -> None:
    for seconds, entry in zip((300, 20, 100), [picked(pool) for _ in range(3)], strict=True):
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
    spent = picked(pool)
    fail(pool, spent, error(QuotaExhausted, retry_after_seconds))
    expected = retry_after_seconds or 10_000
    assert expected <= rest_seconds(pool, clock, spent) <= expected + 1
    assert (spent.state, spent.strikes) == ("exhausted", 0)
    assert [note.effect for note in pool.state_changes] == [EXHAUST]
    clock.now += expected + 1
    assert spent.id in {picked(pool).id for _ in range(5)}
    succeed(pool, spent)
    assert spent.state == "active"
    assert pool.state_changes[-1].effect == "absolve"


def test_a_quota_that_is_found_used_up_while_the_token_rests_is_not_overlooked(pool: Pool) -> None:
    spent = picked(pool)
    fail(pool, spent, error(RateLimited, 2))
    fail(pool, spent, error(QuotaExhausted))
    assert spent.state == "exhausted"
    assert [note.effect for note in pool.state_changes] == [COOLDOWN, EXHAUST]


# --- providers ------------------------------------------------------------------------------------
def test_failures_of_the_provider_open_its_breaker_and_an_answer_closes_it(
    pool: Pool, settings: Any
) -> None:
    for _ in range(settings.BREAKER_FAILURES):
        assert pool.find_breaker(UPSTREAM).find_blocked_seconds(1_000.0) is None
        fail(pool, picked(pool), error(ServerFailed))
    assert pool.find_breaker(UPSTREAM).find_blocked_seconds(1_000.0) is not None
    succeed(pool, picked(pool))
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
    other = upstream(pk=2, name="q")
    for _ in range(50):
        fail(pool, None, error(ProviderError))
    assert pool.find_breaker(other).find_blocked_seconds(1_000.0) is None


def test_uses_and_failures_are_counted_per_token(pool: Pool) -> None:
    one = picked(pool)
    succeed(pool, one)
    for kind in (Rejected, AuthRejected, RateLimited, ServerFailed):
        fail(pool, one, error(kind))
    assert pool.unwritten_uses == {one.id: [5, 3]}


def test_a_call_without_a_token_counts_for_none(pool: Pool) -> None:
    succeed(pool, None)
    for kind in (Rejected, AuthRejected, RateLimited, QuotaExhausted, ServerFailed):
        fail(pool, None, error(kind))
    assert (pool.unwritten_uses, list(pool.state_changes)) == ({}, [])


# --- taking what was read -------------------------------------------------------------------------
async def test_what_was_read_is_in_force_and_an_entry_that_stays_keeps_its_uses(pool: Pool) -> None:
    for _ in range(6):
        picked(pool)
    await pool.apply_rows(rows_of(token(2, weight=5, changed=2), version=2, whole=False))
    entries = pool.find_ring(UPSTREAM).entries
    assert {entry.id.int: (entry.use_count, entry.weight) for entry in entries.values()} == {
        1: (2, 1),
        2: (2, 5),
        3: (2, 1),
    }
    assert pool.version_in_force == 2


async def test_tokens_that_are_gone_from_a_whole_reading_are_not_picked(pool: Pool) -> None:
    await pool.apply_rows(rows_of(token(2), version=2))
    assert {picked(pool).id.int for _ in range(5)} == {2}
    await pool.apply_rows(rows_of(version=3))
    assert pool.pick_token(UPSTREAM, ()) is None


async def test_tokens_that_are_absent_from_a_partial_reading_stay(pool: Pool) -> None:
    await pool.apply_rows(rows_of(token(4), version=2, whole=False))
    assert {picked(pool).id.int for _ in range(8)} == {1, 2, 3, 4}


CHANGES: dict[str, Callable[[], dict[str, Any]]] = {
    "disabled": lambda: {"state": "disabled"},
    "resting": lambda: {"rests_until": datetime.now(UTC) + timedelta(hours=1)},
    "expired": lambda: {"expires_at": datetime.now(UTC) - timedelta(seconds=1)},
    "of another provider": lambda: {"provider_id": 2},
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_token_that_was_changed_elsewhere_is_not_picked_any_more(
    pool: Pool, change: str
) -> None:
    await pool.apply_rows(rows_of(token(1, changed=2, **CHANGES[change]()), version=2, whole=False))
    assert {picked(pool).id.int for _ in range(8)} == {2, 3}


async def test_a_token_that_moved_is_picked_for_its_new_provider(pool: Pool) -> None:
    await pool.apply_rows(rows_of(token(1, provider=2, changed=2), version=2, whole=False))
    found = pool.pick_token(upstream(pk=2, name="q"), ())
    assert found is not None
    assert found.id.int == 1


async def test_a_token_that_was_reset_elsewhere_is_picked_again(pool: Pool) -> None:
    struck = picked(pool)
    for _ in range(3):
        fail(pool, struck, error(AuthRejected))
    pool.mark_changes_written(pool.state_changes)
    pool.state_changes.clear()
    await pool.apply_rows(rows_of(token(struck.id.int, changed=2), version=2, whole=False))
    assert struck.id in {picked(pool).id for _ in range(5)}


@pytest.mark.parametrize("kind", [RateLimited, QuotaExhausted, AuthRejected])
async def test_a_reading_that_is_older_than_what_waits_to_be_written_does_not_undo_it(
    pool: Pool, kind: type[UpstreamError]
) -> None:
    hurt = picked(pool)
    for _ in range(3):
        fail(pool, hurt, error(kind, 600))
    await pool.apply_rows(rows_of(token(hurt.id.int, weight=2, changed=2), version=2, whole=False))
    assert hurt.id not in {picked(pool).id for _ in range(9)}


async def test_a_token_that_moved_while_something_waited_to_be_written_still_hears_of_changes(
    pool: Pool,
) -> None:
    other = upstream(pk=2, name="q")
    fail(pool, picked(pool), error(AuthRejected))
    await pool.apply_rows(rows_of(token(1, provider=2, changed=2), version=2, whole=False))
    pool.mark_changes_written([pool.state_changes.popleft()])
    await pool.apply_rows(
        rows_of(token(1, provider=2, state="disabled", changed=3), version=3, whole=False)
    )
    assert pool.pick_token(other, ()) is None


async def test_another_rotation_is_in_force_at_once_and_states_stay(pool: Pool) -> None:
    fail(pool, picked(pool), error(RateLimited, 600))
    by_priority = upstream(rotation="priority")
    await pool.apply_rows(rows_of(token(3, priority=-1, changed=2), version=2, whole=False))
    assert [found.id.int for _ in range(4) if (found := pool.pick_token(by_priority, ()))] == [
        3,
        3,
        3,
        3,
    ]
    assert pool.pick_token(by_priority, {UUID(int=3), UUID(int=2)}) is None


# --- credentials ----------------------------------------------------------------------------------
async def test_a_token_is_opened_once_and_again_when_its_secret_changed(
    pool: Pool, monkeypatch: Any
) -> None:
    opened: list[str] = []
    unseal = vault.decrypt_secret
    monkeypatch.setattr(
        vault, "decrypt_secret", lambda sealed, row: opened.append(row) or unseal(sealed, row)
    )
    one = picked(pool)
    assert {pool.open_credential(one).secret for _ in range(3)} == {"sk-made-up-1"}
    assert len(opened) == 1
    changed = token(1, changed=2)
    changed.seal_secret("sk-another-one")
    await pool.apply_rows(rows_of(changed, version=2, whole=False))
    assert pool.open_credential(one).secret == "sk-another-one"
    assert pool.open_credential(one).token_id == one.id


async def test_a_secret_that_does_not_open_is_an_error_of_this_token_alone(pool: Pool) -> None:
    await pool.apply_rows(rows_of(token(1, sealed="v1.k9.AAAA", changed=2), version=2, whole=False))
    entries = pool.find_ring(UPSTREAM).entries
    with pytest.raises(VaultError, match="k9"):
        pool.open_credential(entries[UUID(int=1)])
    assert pool.open_credential(entries[UUID(int=2)]).secret == "sk-made-up-2"


def test_a_provider_that_needs_no_token_and_has_none_is_asked_without(clock: Clock) -> None:
    pool = Pool()
    assert pool.is_asked_anonymously(upstream(pk=5, name="o", needs_token=False))
    assert not pool.is_asked_anonymously(upstream(pk=5, name="o"))
    assert pool.open_credential(None).secret == ""
    assert pool.open_credential(None).token_id is None


def test_a_provider_that_needs_no_token_but_has_one_is_asked_with_it(pool: Pool) -> None:
    assert not pool.is_asked_anonymously(upstream(needs_token=False))
