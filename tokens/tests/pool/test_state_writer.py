from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError

from providers import catalogue
from providers.database.database_threads import run_in_thread
from providers.exceptions import AuthRejected, QuotaExhausted, RateLimited
from providers.models import Provider, Tombstone
from tokens.models import UpstreamToken
from tokens.outcomes.upstream_call import COOLDOWN, EXHAUST, STRIKE, UpstreamCall
from tokens.pool import state_writer
from tokens.pool.pool import Pool
from tokens.pool.state_changes import StateChange
from tokens.pool.state_writer import UseCount, write_change_rows, write_counter_rows, write_pool
from tokens.pool.written_batches import NumberedBatches

rows = pytest.mark.django_db
committed = pytest.mark.usefixtures("transactional_db")


def made() -> UpstreamToken:
    row = UpstreamToken.from_secret(Provider.objects.create(name="p", kind="echo"), "sk-made-up")
    row.save()
    return row


def another(row: UpstreamToken) -> UpstreamToken:
    other = UpstreamToken.from_secret(row.provider, "sk-made-up-too")
    other.save()
    return other


@pytest.fixture
def token() -> UpstreamToken:
    return made()


def read(row: UpstreamToken) -> UpstreamToken:
    return UpstreamToken.objects.get(pk=row.pk)


def notes_written(*notes: StateChange) -> None:
    write_change_rows(NumberedBatches().start_batch(list(notes)))


def counters_written(*rows: UseCount) -> None:
    write_counter_rows(NumberedBatches().start_batch(list(rows)))


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


@rows
def test_notes_are_written_in_their_order(token: UpstreamToken, settings: Any) -> None:
    settings.MAX_TOKEN_FAILURES = 3
    until = soon()
    told: Iterator[tuple[StateChange, tuple[Any, ...]]] = iter(
        (
            (StateChange(STRIKE, token.pk, reason="auth: a"), ("active", 1, None)),
            (StateChange("absolve", token.pk), ("active", 0, None)),
            (StateChange(COOLDOWN, token.pk, until, "rate limit"), ("active", 0, until)),
            (StateChange(EXHAUST, token.pk, until, "quota"), ("exhausted", 0, until)),
            (StateChange("absolve", token.pk), ("active", 0, None)),
        )
    )
    for note, expected in told:
        notes_written(note)
        row = read(token)
        assert (row.state, row.strikes, row.rests_until) == expected
    notes_written(*(StateChange(STRIKE, token.pk, reason=f"auth: {n}") for n in range(3)))
    assert (read(token).state, read(token).reason) == ("disabled", "auth: 2")


@rows
def test_counters_are_added_to_what_is_there(token: UpstreamToken) -> None:
    for _ in range(2):
        counters_written(UseCount(token.pk, 5, 2))
    row = read(token)
    assert (row.requests, row.failures) == (10, 4)
    assert row.last_used_at is not None


@rows
def test_notes_about_a_token_that_was_deleted_meanwhile_are_passed_over(
    token: UpstreamToken,
) -> None:
    gone = uuid4()
    notes_written(StateChange(STRIKE, gone, reason="x"), StateChange(STRIKE, token.pk, reason="y"))
    counters_written(UseCount(gone, 1, 1), UseCount(token.pk, 1, 0))
    assert (read(token).strikes, read(token).requests) == (1, 1)


@committed
async def test_what_was_noted_is_written_once() -> None:
    token, pool = await run_in_thread(made), Pool()
    pool.state_changes.append(StateChange(STRIKE, token.pk, reason="auth"))
    pool.unwritten_uses = {token.pk: [3, 1]}
    for _ in range(3):
        await write_pool(pool, 100)
    row = await run_in_thread(read, token)
    assert (row.strikes, row.requests, row.failures) == (1, 3, 1)
    assert (list(pool.state_changes), pool.unwritten_uses) == ([], {})


@committed
async def test_a_writing_takes_bounded_numbers_of_notes_and_counters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state_writer, "CHANGES_AT_ONCE", 3)
    pool = Pool()
    pool.state_changes = deque(StateChange("absolve", UUID(int=number)) for number in range(5))
    pool.unwritten_uses = {UUID(int=number): [1, 0] for number in range(5)}
    await write_pool(pool, 2)
    assert [note.token_id.int for note in pool.state_changes] == [3, 4]
    assert len(pool.unwritten_uses) == 3
    await write_pool(pool, 0)
    assert (len(pool.state_changes), len(pool.unwritten_uses)) == (0, 3)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`with away("write_change_rows"):` the database fails before it commits.

    With `after=True` it fails after it has committed.
    """

    @contextmanager
    def failing(name: str, after: bool = False) -> Iterator[None]:
        real = getattr(state_writer, name)

        def fails(*args: Any) -> None:
            if after:
                real(*args)
            raise OperationalError("the connection is lost")

        with monkeypatch.context() as patched:
            patched.setattr(state_writer, name, fails)
            yield

    return failing


@committed
@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
async def test_a_batch_whose_connection_was_lost_is_written_once(away: Any, after: bool) -> None:
    token, pool = await run_in_thread(made), Pool()
    pool.state_changes.append(StateChange(STRIKE, token.pk, reason="auth: first"))
    pool.unwritten_uses = {token.pk: [3, 1]}
    with away("write_change_rows", after), away("write_counter_rows", after):
        for _ in range(3):
            await write_pool(pool, 10)
        pool.state_changes.append(
            StateChange(STRIKE, token.pk, reason="auth: second")
        )  # what the path notes meanwhile
        pool.unwritten_uses = {token.pk: [1, 0]}
        await write_pool(pool, 10)
    for _ in range(3):
        await write_pool(pool, 10)
    row = await run_in_thread(read, token)
    assert (row.strikes, row.reason, row.requests, row.failures) == (2, "auth: second", 4, 1)
    assert (list(pool.state_changes), pool.unwritten_uses) == ([], {})


@committed
async def test_a_state_does_not_wait_for_counters_that_cannot_be_written(away: Any) -> None:
    token, pool = await run_in_thread(made), Pool()
    pool.unwritten_uses = {token.pk: [3, 1]}
    with away("write_counter_rows"):
        await write_pool(pool, 10)
        pool.state_changes.append(StateChange(STRIKE, token.pk, reason="auth"))
        await write_pool(pool, 10)
        assert (await run_in_thread(read, token)).strikes == 1
    await write_pool(pool, 10)
    assert (await run_in_thread(read, token)).requests == 3


@committed
async def test_what_the_database_refuses_holds_up_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    token, pool = await run_in_thread(made), Pool()
    other = await run_in_thread(another, token)
    pool.unwritten_uses = {token.pk: [-1_000, 0], other.pk: [2, 1]}  # a negative counter is refused
    pool.state_changes.extend(
        (
            StateChange(COOLDOWN, token.pk, soon(), "\0"),
            StateChange(STRIKE, other.pk, reason="auth"),
        )
    )
    await write_pool(pool, 10)
    row = await run_in_thread(read, other)
    assert (row.requests, row.failures, row.strikes) == (2, 1, 1)
    assert (await run_in_thread(read, token)).requests == 0
    assert (list(pool.state_changes), pool.unwritten_uses) == ([], {})
    assert "no outage" in caplog.text


@rows
def test_a_batch_with_an_old_number_is_not_written_again(token: UpstreamToken) -> None:
    batches: NumberedBatches[list[StateChange]] = NumberedBatches()
    first, second = (
        batches.start_batch([StateChange(STRIKE, token.pk, reason="auth")]) for _ in range(2)
    )
    for batch in (first, first, second, first, second):
        write_change_rows(batch)
    assert read(token).strikes == 2


@committed
async def test_the_pool_reads_what_changed_and_what_was_deleted_since_it_looked() -> None:
    def several() -> list[UpstreamToken]:
        Tombstone.objects.all().delete()  # of rows that emptied tables of an earlier test left
        provider = Provider.objects.create(name="p", kind="echo")
        made = [UpstreamToken.from_secret(provider, f"sk-made-up-{number}") for number in range(4)]
        UpstreamToken.objects.bulk_create(made)
        return made

    made = await run_in_thread(several)
    first = await run_in_thread(Pool.read_tokens, -1)
    assert (first.is_complete, len(first.rows)) == (True, 4)
    nothing = await run_in_thread(Pool.read_tokens, first.version)
    assert (nothing.is_complete, nothing.rows, nothing.version) == (False, [], first.version)
    await run_in_thread(lambda: UpstreamToken.objects.filter(pk=made[2].pk).add_strike(3, "auth"))
    changed = await run_in_thread(Pool.read_tokens, first.version)
    assert (changed.is_complete, [row[0] for row in changed.rows]) == (False, [made[2].pk])
    assert changed.version > first.version
    await run_in_thread(lambda: UpstreamToken.objects.update(requests=5))
    assert (await run_in_thread(Pool.read_tokens, changed.version)).rows == []
    gone = made[0].pk
    pool = Pool()
    await pool.apply_rows(first)
    await run_in_thread(made[0].delete)
    after = await run_in_thread(Pool.read_tokens, changed.version)
    assert (after.is_complete, after.rows, after.deleted_ids) == (False, [], (gone,))
    assert (
        await run_in_thread(Pool.read_tokens, after.version + 1)
    ).is_complete  # a database that was restored from a copy
    await pool.apply_rows(changed)
    await pool.apply_rows(after)
    assert pool.version_in_force == after.version
    assert {token.pk for token in made[1:]} == pool._entries.keys()


@committed
@pytest.mark.parametrize("kind", [AuthRejected, RateLimited, QuotaExhausted])
async def test_a_token_that_is_disabled_while_its_own_trouble_waits_to_be_written_is_used_no_more(
    kind: Any,
) -> None:
    token, pool = await run_in_thread(made), Pool()
    upstream = await run_in_thread(catalogue.make_upstream, token.provider)
    await pool.apply_rows(await run_in_thread(Pool.read_tokens, -1))
    entry = pool.pick_token(upstream, ())
    assert entry is not None
    pool.record_error(
        UpstreamCall(upstream, entry, pool.find_health(upstream)),
        kind("made up", retry_after_seconds=1),
    )
    await run_in_thread(
        lambda: UpstreamToken.objects.filter(pk=token.pk).mark_disabled("by the operator")
    )
    await pool.apply_rows(await run_in_thread(Pool.read_tokens, pool.version_in_force))
    await write_pool(pool, 0)
    await pool.apply_rows(await run_in_thread(Pool.read_tokens, pool.version_in_force))
    assert (await run_in_thread(read, token)).state == "disabled"
    assert not entry.is_enabled
