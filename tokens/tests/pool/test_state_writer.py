from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError

from providers import catalogue
from providers.database.database_threads import off_loop
from providers.exceptions import AuthRejected, QuotaExhausted, RateLimited
from providers.models import Provider
from tokens.models import UpstreamToken
from tokens.outcomes.upstream_call import EXHAUST, REST, STRIKE, Call
from tokens.pool import state_writer
from tokens.pool.pool import Pool
from tokens.pool.state_changes import Note
from tokens.pool.state_writer import Counted, write, write_counter_rows, write_note_rows
from tokens.pool.written_batches import Batches

rows = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


def made() -> UpstreamToken:
    row = UpstreamToken.of(Provider.objects.create(name="p", kind="echo"), "sk-made-up")
    row.save()
    return row


def another(row: UpstreamToken) -> UpstreamToken:
    other = UpstreamToken.of(row.provider, "sk-made-up-too")
    other.save()
    return other


@pytest.fixture
def token() -> UpstreamToken:
    return made()


def read(row: UpstreamToken) -> UpstreamToken:
    return UpstreamToken.objects.get(pk=row.pk)


def notes_written(*notes: Note) -> None:
    write_note_rows(Batches().make(list(notes)))


def counters_written(*rows: Counted) -> None:
    write_counter_rows(Batches().make(list(rows)))


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


@rows
def test_notes_are_written_in_their_order(token: UpstreamToken, settings: Any) -> None:
    settings.MAX_TOKEN_FAILURES = 3
    until = soon()
    told: Iterator[tuple[Note, tuple[Any, ...]]] = iter(
        (
            (Note(STRIKE, token.pk, reason="auth: a"), ("active", 1, None)),
            (Note("absolve", token.pk), ("active", 0, None)),
            (Note(REST, token.pk, until, "rate limit"), ("active", 0, until)),
            (Note(EXHAUST, token.pk, until, "quota"), ("exhausted", 0, until)),
            (Note("absolve", token.pk), ("active", 0, None)),
        )
    )
    for note, expected in told:
        notes_written(note)
        row = read(token)
        assert (row.state, row.strikes, row.rests_until) == expected
    notes_written(*(Note(STRIKE, token.pk, reason=f"auth: {n}") for n in range(3)))
    assert (read(token).state, read(token).reason) == ("disabled", "auth: 2")


@rows
def test_counters_are_added_to_what_is_there(token: UpstreamToken) -> None:
    for _ in range(2):
        counters_written(Counted(token.pk, 5, 2))
    row = read(token)
    assert (row.requests, row.failures) == (10, 4)
    assert row.last_used_at is not None


@rows
def test_notes_about_a_token_that_was_deleted_meanwhile_are_passed_over(
    token: UpstreamToken,
) -> None:
    gone = uuid4()
    notes_written(Note(STRIKE, gone, reason="x"), Note(STRIKE, token.pk, reason="y"))
    counters_written(Counted(gone, 1, 1), Counted(token.pk, 1, 0))
    assert (read(token).strikes, read(token).requests) == (1, 1)


@committed
async def test_what_was_noted_is_written_once() -> None:
    token, pool = await off_loop(made), Pool()
    pool.notes.append(Note(STRIKE, token.pk, reason="auth"))
    pool.used = {token.pk: [3, 1]}
    for _ in range(3):
        await write(pool, 100)
    row = await off_loop(read, token)
    assert (row.strikes, row.requests, row.failures) == (1, 3, 1)
    assert (list(pool.notes), pool.used) == ([], {})


@committed
async def test_a_writing_takes_bounded_numbers_of_notes_and_counters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state_writer, "NOTES_AT_ONCE", 3)
    pool = Pool()
    pool.notes = deque(Note("absolve", UUID(int=number)) for number in range(5))
    pool.used = {UUID(int=number): [1, 0] for number in range(5)}
    await write(pool, 2)
    assert [note.token_id.int for note in pool.notes] == [3, 4]
    assert len(pool.used) == 3
    await write(pool, 0)
    assert (len(pool.notes), len(pool.used)) == (0, 3)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`with away("write_note_rows"):` the database fails before, or with `after=True` after it has
    committed.
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
    token, pool = await off_loop(made), Pool()
    pool.notes.append(Note(STRIKE, token.pk, reason="auth: first"))
    pool.used = {token.pk: [3, 1]}
    with away("write_note_rows", after), away("write_counter_rows", after):
        for _ in range(3):
            await write(pool, 10)
        pool.notes.append(
            Note(STRIKE, token.pk, reason="auth: second")
        )  # what the path notes meanwhile
        pool.used = {token.pk: [1, 0]}
        await write(pool, 10)
    for _ in range(3):
        await write(pool, 10)
    row = await off_loop(read, token)
    assert (row.strikes, row.reason, row.requests, row.failures) == (2, "auth: second", 4, 1)
    assert (list(pool.notes), pool.used) == ([], {})


@committed
async def test_a_state_does_not_wait_for_counters_that_cannot_be_written(away: Any) -> None:
    token, pool = await off_loop(made), Pool()
    pool.used = {token.pk: [3, 1]}
    with away("write_counter_rows"):
        await write(pool, 10)
        pool.notes.append(Note(STRIKE, token.pk, reason="auth"))
        await write(pool, 10)
        assert (await off_loop(read, token)).strikes == 1
    await write(pool, 10)
    assert (await off_loop(read, token)).requests == 3


@committed
async def test_what_the_database_refuses_holds_up_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    token, pool = await off_loop(made), Pool()
    other = await off_loop(another, token)
    pool.used = {token.pk: [-1_000, 0], other.pk: [2, 1]}  # a negative counter is refused
    pool.notes.extend((Note(REST, token.pk, soon(), "\0"), Note(STRIKE, other.pk, reason="auth")))
    await write(pool, 10)
    row = await off_loop(read, other)
    assert (row.requests, row.failures, row.strikes) == (2, 1, 1)
    assert (await off_loop(read, token)).requests == 0
    assert (list(pool.notes), pool.used) == ([], {})
    assert "no outage" in caplog.text


@rows
def test_a_batch_with_an_old_number_is_not_written_again(token: UpstreamToken) -> None:
    batches: Batches[list[Note]] = Batches()
    first, second = (batches.make([Note(STRIKE, token.pk, reason="auth")]) for _ in range(2))
    for batch in (first, first, second, first, second):
        write_note_rows(batch)
    assert read(token).strikes == 2


@committed
async def test_the_pool_reads_what_changed_and_what_was_deleted_since_it_looked() -> None:
    def several() -> list[UpstreamToken]:
        provider = Provider.objects.create(name="p", kind="echo")
        made = [UpstreamToken.of(provider, f"sk-made-up-{number}") for number in range(4)]
        UpstreamToken.objects.bulk_create(made)
        return made

    made = await off_loop(several)
    first = await off_loop(Pool.read, -1)
    assert (first.whole, len(first.rows)) == (True, 4)
    nothing = await off_loop(Pool.read, first.version)
    assert (nothing.whole, nothing.rows, nothing.version) == (False, [], first.version)
    await off_loop(lambda: UpstreamToken.objects.filter(pk=made[2].pk).strike(3, "auth"))
    changed = await off_loop(Pool.read, first.version)
    assert (changed.whole, [row[0] for row in changed.rows]) == (False, [made[2].pk])
    assert changed.version > first.version
    await off_loop(lambda: UpstreamToken.objects.update(requests=5))
    assert (await off_loop(Pool.read, changed.version)).rows == []
    gone = made[0].pk
    pool = Pool()
    await pool.take(first)
    await off_loop(made[0].delete)
    after = await off_loop(Pool.read, changed.version)
    assert (after.whole, after.rows, after.deleted) == (False, [], (gone,))
    assert (
        await off_loop(Pool.read, after.version + 1)
    ).whole  # a database that was restored from a copy
    await pool.take(changed)
    await pool.take(after)
    assert pool.seen == after.version
    assert {token.pk for token in made[1:]} == pool._entries.keys()


@committed
@pytest.mark.parametrize("kind", [AuthRejected, RateLimited, QuotaExhausted])
async def test_a_token_that_is_disabled_while_its_own_trouble_waits_to_be_written_is_used_no_more(
    kind: Any,
) -> None:
    token, pool = await off_loop(made), Pool()
    upstream = await off_loop(catalogue.upstream, token.provider)
    await pool.take(await off_loop(Pool.read, -1))
    entry = pool.pick(upstream, ())
    assert entry is not None
    pool.record_error(
        Call(upstream, entry, pool.health(upstream)), kind("made up", retry_after_seconds=1)
    )
    await off_loop(lambda: UpstreamToken.objects.filter(pk=token.pk).disable("by the operator"))
    await pool.take(await off_loop(Pool.read, pool.seen))
    await write(pool, 0)
    await pool.take(await off_loop(Pool.read, pool.seen))
    assert (await off_loop(read, token)).state == "disabled"
    assert not entry.enabled
