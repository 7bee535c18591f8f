"""Several processes write the states and counters of the same tokens at the same time: here
threads, each with its own connection and its own pool.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, connections, transaction
from django.db.models import F, Sum

from providers.database.database_threads import run_in_thread
from providers.models import Provider
from tokens.models import UpstreamToken
from tokens.outcomes.upstream_call import COOLDOWN, STRIKE
from tokens.pool import state_writer
from tokens.pool.pool import Pool
from tokens.pool.state_changes import StateChange
from tokens.pool.state_writer import UseCount, write_pool

pytestmark = pytest.mark.usefixtures("transactional_db")
postgres = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks no rows")
TOKENS, STRUCK, ROUNDS, WRITERS = 100, 20, 5, 4


def made(count: int) -> list[UpstreamToken]:
    provider = Provider.objects.create(name="p", kind="echo")
    return UpstreamToken.objects.bulk_create(
        [UpstreamToken.from_secret(provider, f"sk-made-up-{number}") for number in range(count)]
    )


@contextmanager
def running(*works: Callable[[], Any]) -> Iterator[None]:
    """Run the works in threads of their own; what they raise is raised here at the end."""

    def run(work: Callable[[], Any]) -> None:
        try:
            work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(works)) as threads:
        futures = [threads.submit(run, work) for work in works]
        yield
        for future in futures:
            future.result(50)


def test_writers_that_use_the_same_tokens_in_any_order_meet_no_deadlock_and_lose_nothing(
    settings: Any,
) -> None:
    settings.MAX_TOKEN_FAILURES = 10_000
    tokens = made(TOKENS)

    def count_and_strike(seed: int) -> None:
        order = random.Random(seed)
        pool = Pool()
        for _ in range(ROUNDS):
            batch = order.sample(tokens, TOKENS)
            rows = [UseCount(token.pk, 1, 0) for token in batch]
            left = state_writer.write_counter_rows(pool.counter_batches.start_batch(rows))
            notes = [StateChange(STRIKE, token.pk, reason="auth") for token in batch[:STRUCK]]
            missed = state_writer.write_change_rows(pool.change_batches.start_batch(notes))
            while left or missed:
                left = state_writer.write_counter_rows(
                    pool.counter_batches.start_batch([r for r in rows if r.token_id in left])
                )
                missed = state_writer.write_change_rows(
                    pool.change_batches.start_batch([n for n in notes if n.token_id in missed])
                )

    def change_in_bulk() -> None:
        for _ in range(20):
            UpstreamToken.objects.filter(strikes__gte=0).order_by("-pk").update(
                priority=F("priority") + 1
            )
            time.sleep(0.02)  # the rows are free for a moment, as they are in life

    with running(change_in_bulk, *(partial(count_and_strike, seed) for seed in range(WRITERS))):
        pass
    found = UpstreamToken.objects.aggregate(requests=Sum("requests"), strikes=Sum("strikes"))
    assert found == {"requests": WRITERS * ROUNDS * TOKENS, "strikes": WRITERS * ROUNDS * STRUCK}


@contextmanager
def locked(token: UpstreamToken) -> Iterator[None]:
    """Another connection keeps the token's row locked."""
    has_it, over = threading.Event(), threading.Event()

    def keep() -> None:
        with transaction.atomic():
            UpstreamToken.objects.select_for_update().get(pk=token.pk)
            has_it.set()
            over.wait(30)

    with running(keep):
        assert has_it.wait(10)
        try:
            yield
        finally:
            over.set()


@postgres
def test_a_row_that_somebody_keeps_locked_holds_up_no_other_and_is_written_afterwards() -> None:
    first, second = made(2)
    pool = Pool()
    until = datetime.now(UTC) + timedelta(hours=1)
    pool.unwritten_uses = {first.pk: [1, 0], second.pk: [2, 0]}
    pool.state_changes.extend(
        (
            StateChange(STRIKE, first.pk, reason="auth: 1"),
            StateChange(COOLDOWN, second.pk, until),
            StateChange(STRIKE, first.pk, reason="auth: 2"),
        )
    )

    @async_to_sync
    async def written() -> list[tuple[Any, ...]]:
        await write_pool(pool, 10)
        rows = UpstreamToken.objects.order_by("created_at").values_list
        found = await run_in_thread(
            lambda: list(rows("pk", "requests", "strikes", "reason", "rests_until"))
        )
        return sorted(found, key=lambda row: row[0] == second.pk)

    with locked(first):
        assert written() == [(first.pk, 0, 0, "", None), (second.pk, 2, 0, "", until)]
        assert [note.reason for note in pool.state_changes] == ["auth: 1", "auth: 2"]
        assert pool.unwritten_uses == {first.pk: [1, 0]}
    assert written() == [(first.pk, 1, 2, "auth: 2", None), (second.pk, 2, 0, "", until)]
    assert (list(pool.state_changes), pool.unwritten_uses) == ([], {})


@postgres
def test_what_was_left_out_of_a_batch_is_known_to_who_tries_it_again() -> None:
    first, second = made(2)
    pool = Pool()
    batch = pool.change_batches.start_batch(
        [StateChange(STRIKE, token.pk, reason="auth") for token in (first, second)]
    )
    with locked(first):
        assert state_writer.write_change_rows(batch) == {first.pk}
    assert state_writer.write_change_rows(batch) == {
        first.pk
    }  # its answer was lost: it is not done again
    assert set(UpstreamToken.objects.values_list("pk", "strikes")) == {
        (first.pk, 0),
        (second.pk, 1),
    }


def test_counters_cost_one_statement_however_many_tokens(django_assert_num_queries: Any) -> None:
    tokens = made(50)
    with django_assert_num_queries(4):  # a transaction, its mark, the counters, its end
        state_writer.write_counter_rows(
            Pool().counter_batches.start_batch([UseCount(token.pk, 1, 0) for token in tokens])
        )
    assert UpstreamToken.objects.filter(requests=1).count() == 50
