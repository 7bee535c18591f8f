from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError

from providers import catalogue
from providers.exceptions import AuthRejected, QuotaExhausted, RateLimited
from providers.models import Provider
from providers.offloop import off_loop
from tokens import books
from tokens.books import write, write_rows
from tokens.models import UpstreamToken
from tokens.pool import EXHAUST, REST, STRIKE, Note, Pool

rows = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


def made() -> UpstreamToken:
    row = UpstreamToken.of(Provider.objects.create(name="p", kind="echo"), "sk-made-up")
    row.save()
    return row


@pytest.fixture
def token() -> UpstreamToken:
    return made()


def read(row: UpstreamToken) -> UpstreamToken:
    return UpstreamToken.objects.get(pk=row.pk)


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
        write_rows([note], {})
        row = read(token)
        assert (row.state, row.strikes, row.rests_until) == expected
    write_rows([Note(STRIKE, token.pk, reason=f"auth: {n}") for n in range(3)], {})
    assert (read(token).state, read(token).reason) == ("disabled", "auth: 2")


@rows
def test_counters_are_added_to_what_is_there(token: UpstreamToken) -> None:
    for _ in range(2):
        write_rows([], {token.pk: [5, 2]})
    row = read(token)
    assert (row.requests, row.failures) == (10, 4)
    assert row.last_used_at is not None


@rows
def test_notes_about_a_token_that_was_deleted_meanwhile_are_passed_over(token: UpstreamToken) -> None:
    gone = uuid4()
    write_rows([Note(STRIKE, gone, reason="x"), Note(STRIKE, token.pk, reason="y")], {gone: [1, 1], token.pk: [1, 0]})
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
async def test_a_writing_takes_bounded_numbers_of_notes_and_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "NOTES_AT_ONCE", 3)
    pool = Pool()
    pool.notes = deque(Note("absolve", UUID(int=number)) for number in range(5))
    pool.used = {UUID(int=number): [1, 0] for number in range(5)}
    await write(pool, 2)
    assert [note.token_id.int for note in pool.notes] == [3, 4]
    assert len(pool.used) == 3
    await write(pool, 0)
    assert (len(pool.notes), len(pool.used)) == (0, 3)


@committed
async def test_a_database_that_fails_leaves_everything_waiting_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()
    first, later = [Note("absolve", UUID(int=number)) for number in (1, 2)], Note("absolve", UUID(int=3))
    pool.notes, pool.used = deque(first), {UUID(int=1): [3, 1]}

    def away(notes: list[Note], used: dict[UUID, list[int]]) -> None:
        pool.notes.append(later)  # what the path notes meanwhile
        pool.used[UUID(int=1)] = [1, 0]
        raise DatabaseError

    monkeypatch.setattr(books, "write_rows", away)
    await write(pool, 10)
    assert list(pool.notes) == [*first, later]
    assert pool.used == {UUID(int=1): [4, 1]}


@committed
async def test_a_writing_that_fails_half_way_and_is_repeated_strikes_once() -> None:
    token, pool = await off_loop(made), Pool()
    pool.notes.append(Note(STRIKE, token.pk, reason="auth"))
    pool.used = {token.pk: [-1_000, 0]}  # the database refuses a negative counter
    await write(pool, 10)
    pool.used = {token.pk: [1, 0]}
    await write(pool, 10)
    row = await off_loop(read, token)
    assert (row.strikes, row.requests) == (1, 1)
    assert not pool.notes


@committed
async def test_the_pool_reads_what_changed_since_it_looked_and_everything_after_a_delete() -> None:
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
    await off_loop(made[0].delete)
    after = await off_loop(Pool.read, changed.version)
    assert (after.whole, len(after.rows)) == (True, 3)
    assert (await off_loop(Pool.read, after.version + 1)).whole  # a database that was restored from a copy
    pool = Pool()
    await pool.take(after)
    assert pool.seen == after.version


@committed
@pytest.mark.parametrize("kind", [AuthRejected, RateLimited, QuotaExhausted])
async def test_a_token_that_is_disabled_while_its_own_trouble_waits_to_be_written_is_used_no_more(kind: Any) -> None:
    token, pool = await off_loop(made), Pool()
    upstream = await off_loop(catalogue.upstream, token.provider)
    await pool.take(await off_loop(Pool.read, -1))
    entry = pool.pick(upstream, ())
    assert entry is not None
    pool.failed(upstream, entry, kind("made up", retry_after_seconds=1))
    await off_loop(lambda: UpstreamToken.objects.filter(pk=token.pk).disable("by the operator"))
    await pool.take(await off_loop(Pool.read, pool.seen))
    await write(pool, 0)
    await pool.take(await off_loop(Pool.read, pool.seen))
    assert (await off_loop(read, token)).state == "disabled"
    assert not entry.enabled
