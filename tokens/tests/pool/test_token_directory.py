"""Rows that were read are put in force, and nothing that waits to be written is undone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from providers.exceptions import AuthRejected, QuotaExhausted, RateLimited, UpstreamError
from tokens.pool.pool import Pool
from tokens.tests.pool_cast import UPSTREAM, error, fail, make_rows, make_token, make_upstream, pick


async def test_what_was_read_is_in_force_and_an_entry_that_stays_keeps_its_uses(pool: Pool) -> None:
    for _ in range(6):
        pick(pool)
    await pool.apply_rows(make_rows(make_token(2, weight=5, changed=2), version=2, whole=False))
    entries = pool.find_ring(UPSTREAM).entries
    assert {entry.id.int: (entry.use_count, entry.weight) for entry in entries.values()} == {
        1: (2, 1),
        2: (2, 5),
        3: (2, 1),
    }
    assert pool.version_in_force == 2


async def test_tokens_that_are_gone_from_a_whole_reading_are_not_picked(pool: Pool) -> None:
    await pool.apply_rows(make_rows(make_token(2), version=2))
    assert {pick(pool).id.int for _ in range(5)} == {2}
    await pool.apply_rows(make_rows(version=3))
    assert pool.pick_token(UPSTREAM, ()) is None


async def test_tokens_that_are_absent_from_a_partial_reading_stay(pool: Pool) -> None:
    await pool.apply_rows(make_rows(make_token(4), version=2, whole=False))
    assert {pick(pool).id.int for _ in range(8)} == {1, 2, 3, 4}


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
    await pool.apply_rows(
        make_rows(make_token(1, changed=2, **CHANGES[change]()), version=2, whole=False)
    )
    assert {pick(pool).id.int for _ in range(8)} == {2, 3}


async def test_a_token_that_moved_is_picked_for_its_new_provider(pool: Pool) -> None:
    await pool.apply_rows(make_rows(make_token(1, provider=2, changed=2), version=2, whole=False))
    found = pool.pick_token(make_upstream(pk=2, name="q"), ())
    assert found is not None
    assert found.id.int == 1


async def test_a_token_that_was_reset_elsewhere_is_picked_again(pool: Pool) -> None:
    struck = pick(pool)
    for _ in range(3):
        fail(pool, struck, error(AuthRejected))
    pool.mark_changes_written(pool.state_changes)
    pool.state_changes.clear()
    await pool.apply_rows(make_rows(make_token(struck.id.int, changed=2), version=2, whole=False))
    assert struck.id in {pick(pool).id for _ in range(5)}


@pytest.mark.parametrize("kind", [RateLimited, QuotaExhausted, AuthRejected])
async def test_a_reading_that_is_older_than_what_waits_to_be_written_does_not_undo_it(
    pool: Pool, kind: type[UpstreamError]
) -> None:
    hurt = pick(pool)
    for _ in range(3):
        fail(pool, hurt, error(kind, 600))
    await pool.apply_rows(
        make_rows(make_token(hurt.id.int, weight=2, changed=2), version=2, whole=False)
    )
    assert hurt.id not in {pick(pool).id for _ in range(9)}


async def test_a_token_that_moved_while_something_waited_to_be_written_still_hears_of_changes(
    pool: Pool,
) -> None:
    other = make_upstream(pk=2, name="q")
    fail(pool, pick(pool), error(AuthRejected))
    await pool.apply_rows(make_rows(make_token(1, provider=2, changed=2), version=2, whole=False))
    pool.mark_changes_written([pool.state_changes.popleft()])
    await pool.apply_rows(
        make_rows(make_token(1, provider=2, state="disabled", changed=3), version=3, whole=False)
    )
    assert pool.pick_token(other, ()) is None


async def test_another_rotation_is_in_force_at_once_and_states_stay(pool: Pool) -> None:
    fail(pool, pick(pool), error(RateLimited, 600))
    by_priority = make_upstream(rotation="priority")
    await pool.apply_rows(make_rows(make_token(3, priority=-1, changed=2), version=2, whole=False))
    assert [found.id.int for _ in range(4) if (found := pool.pick_token(by_priority, ()))] == [
        3,
        3,
        3,
        3,
    ]
    assert pool.pick_token(by_priority, {UUID(int=3), UUID(int=2)}) is None
