"""Every store: what it leases, what it takes back, and what it forgets."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection

from api.accounting.writers import list_postgres_parameters
from api.limits.caller_limits import Resource
from api.limits.stores import make_store, redis_store
from api.limits.stores.limit_store import (
    SLICE_DIVISOR,
    WINDOW_SECONDS,
    Counter,
    Lease,
    LeaseRequest,
    LimitStore,
)
from api.limits.stores.memory_store import MemoryStore
from api.limits.stores.postgres_store import PostgresStore
from api.limits.stores.redis_store import RedisStore

REQUESTS = Counter("key", 7, Resource.REQUESTS)
RUNNING = Counter("key", 7, Resource.CONCURRENCY)
OpenStore = Callable[[], LimitStore]

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
async def open_store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenStore]:
    """Return a function that opens the store of one more process."""
    monkeypatch.setattr(redis_store, "KEY_PREFIX", f"proxysite:test:{uuid4().hex}:")
    async with AsyncExitStack() as stack:

        def open_one() -> LimitStore:
            store = make_store()
            stack.push_async_callback(store.close)
            return store

        yield open_one


async def lease(store: LimitStore, counter: Counter, limit: int, needed: int, **more: int) -> Lease:
    [answer] = await store.exchange([LeaseRequest(counter, limit, needed, **more)])
    return answer


def test_the_store_is_that_of_the_configured_services() -> None:
    expected: type = MemoryStore
    if connection.vendor == "postgresql":
        expected = RedisStore if settings.REDIS_URL else PostgresStore
    assert isinstance(make_store(), expected)


async def test_a_minutes_requests_are_leased_in_slices_until_none_is_left(
    open_store: OpenStore,
) -> None:
    store = open_store()
    first = await lease(store, REQUESTS, 640, 1)
    assert (first.granted, first.remaining) == (640 // SLICE_DIVISOR, 620)
    rest = await lease(store, REQUESTS, 640, 1_000)
    assert (rest.granted, rest.remaining) == (620, 0)
    none = await lease(store, REQUESTS, 640, 1)
    assert none.granted == 0
    assert 0 < none.seconds_until_free <= WINDOW_SECONDS
    assert none.seconds_until_free <= none.seconds_until_full


async def test_what_is_given_back_to_its_slot_is_there_again(open_store: OpenStore) -> None:
    store = open_store()
    first = await lease(store, REQUESTS, 10, 10)
    request = LeaseRequest(REQUESTS, 10, 3, returned=((first.slot, 4),))
    [second] = await store.exchange([request])
    assert (second.granted, second.remaining) == (3, 1)
    [beyond] = await store.exchange([LeaseRequest(REQUESTS, 10, 0, overused=6)])
    assert beyond.remaining == -5


async def test_amounts_of_another_subject_are_counted_apart(open_store: OpenStore) -> None:
    store = open_store()
    await lease(store, REQUESTS, 5, 5)
    other = await lease(store, Counter("user", 7, Resource.REQUESTS), 5, 5)
    assert other.granted == 5


async def test_processes_share_the_requests_that_may_run(open_store: OpenStore) -> None:
    first, second = open_store(), open_store()
    if not first.is_shared:
        pytest.skip("SQLite has one process")
    assert (await lease(first, RUNNING, 4, 3)).granted == 3
    assert (await lease(second, RUNNING, 4, 3)).granted == 1
    assert (await lease(first, RUNNING, 4, 0, held=1)).remaining == 2
    assert (await lease(second, RUNNING, 4, 3, held=1)).granted == 2
    await lease(second, RUNNING, 4, 0, held=0)
    assert (await lease(first, RUNNING, 4, 0, held=0)).remaining == 4


@pytest.mark.settings(LIMIT_LEASE_SECONDS=0)
async def test_a_process_that_says_no_more_holds_nothing_when_its_lease_has_ended(
    open_store: OpenStore,
) -> None:
    first, second = open_store(), open_store()
    if not first.is_shared:
        pytest.skip("SQLite has one process")
    assert (await lease(first, RUNNING, 4, 4)).granted == 4
    assert (await lease(second, RUNNING, 4, 4)).granted == 4


async def test_while_redis_does_not_answer_postgres_counts() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no store that is shared")
    postgres = PostgresStore(list_postgres_parameters(), 5)
    store = RedisStore("redis://127.0.0.1:1/0", postgres)
    assert (await lease(store, REQUESTS, 3, 2)).granted == 2
    assert (await lease(postgres, REQUESTS, 3, 2)).granted == 1
    await store.close()
