import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.utils import timezone

from api.authentication import (
    INVALID_KEY_TEXT,
    Caller,
    Keyring,
    credentials,
    read_changed_keys,
)
from api.models import ApiKey
from api.tests.authentication.given_keys import create_key_headers, headers
from providers.database.database_threads import run_in_thread
from providers.exceptions import GatewayError, InvalidKey

committed = pytest.mark.usefixtures("transactional_db")


class Watched:
    """The real query, counted, and held back while `gate` is closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self._find = credentials.load_caller
        monkeypatch.setattr(credentials, "load_caller", self)

    def __call__(self, digest: str) -> Caller | None:
        self.asked.append(digest)
        found = self._find(digest)
        self.reached.set()
        assert self.gate.wait(20)
        return found


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


@committed
async def test_a_key_is_asked_for_once_and_then_known(watched: Watched) -> None:
    row, meta = await run_in_thread(create_key_headers, models=["echo"])
    ring = Keyring(10)
    callers = [await ring.identify_caller(meta) for _ in range(5)]
    assert {(caller.key_id, caller.user_id, caller.allowed_models) for caller in callers} == {
        (row.pk, row.user_id, frozenset({"echo"}))
    }
    assert len(watched.asked) == 1


@committed
async def test_a_hundred_who_ask_at_once_cost_one_query(watched: Watched) -> None:
    row, meta = await run_in_thread(create_key_headers)
    ring = Keyring(10)
    watched.gate.clear()
    asking = [asyncio.create_task(ring.identify_caller(meta)) for _ in range(100)]
    await asyncio.sleep(0)
    watched.gate.set()
    assert {caller.key_id for caller in await asyncio.gather(*asking)} == {row.pk}
    assert len(watched.asked) == 1


@committed
async def test_one_who_leaves_while_all_wait_does_not_take_the_answer_from_the_others(
    watched: Watched,
) -> None:
    row, meta = await run_in_thread(create_key_headers)
    ring = Keyring(10)
    watched.gate.clear()
    first, second = (asyncio.create_task(ring.identify_caller(meta)) for _ in range(2))
    await asyncio.to_thread(watched.reached.wait, 20)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    watched.gate.set()
    assert (await second).key_id == row.pk
    assert len(watched.asked) == 1


@committed
async def test_an_unknown_key_is_a_401_and_is_not_kept(watched: Watched) -> None:
    ring = Keyring(10)
    for _ in range(3):
        with pytest.raises(InvalidKey) as caught:
            await ring.identify_caller(headers("Bearer sk-ps-unknown"))
        assert caught.value.message == INVALID_KEY_TEXT
    assert len(watched.asked) == 3


ENDS: dict[str, Callable[[ApiKey], object]] = {
    "revoked": lambda row: ApiKey.objects.filter(pk=row.pk).revoke(),
    "deleted": lambda row: row.delete(),
    "expired": lambda row: ApiKey.objects.filter(pk=row.pk).update(expires_at=timezone.now()),
    "its user closed": lambda row: (
        get_user_model().objects.filter(pk=row.user_id).update(is_active=False)
    ),
}


@committed
@pytest.mark.parametrize("end", ENDS)
async def test_a_key_that_ended_is_refused_once_the_ring_was_told_to_forget(end: str) -> None:
    row, meta = await run_in_thread(create_key_headers)
    ring = Keyring(10)
    assert (await ring.identify_caller(meta)).key_id == row.pk
    await run_in_thread(ENDS[end], row)
    ring.clear_callers()
    with pytest.raises(InvalidKey) as caught:
        await ring.identify_caller(meta)
    assert caught.value.message == INVALID_KEY_TEXT  # the same text as for an unknown one


@committed
@pytest.mark.parametrize("end", ENDS)
async def test_of_changed_keys_the_ring_drops_those_alone(end: str, watched: Watched) -> None:
    (row, meta), (other, others_meta) = (
        await run_in_thread(create_key_headers),
        await run_in_thread(create_key_headers, "mallory"),
    )
    ring = Keyring(10)
    ring.apply_changes(await run_in_thread(read_changed_keys, ring.version_in_force))
    for each in (meta, others_meta):
        await ring.identify_caller(each)
    await run_in_thread(ENDS[end], row)
    await run_in_thread(create_key_headers, "a third")
    ring.apply_changes(await run_in_thread(read_changed_keys, ring.version_in_force))
    watched.asked.clear()
    assert (await ring.identify_caller(others_meta)).key_id == other.pk
    assert watched.asked == []
    with pytest.raises(InvalidKey):
        await ring.identify_caller(meta)
    assert len(watched.asked) == 1


@committed
async def test_a_user_who_is_switched_on_again_is_let_in_again() -> None:
    row, meta = await run_in_thread(create_key_headers)
    ring = Keyring(10)
    users = get_user_model().objects
    for active in (False, True):
        await run_in_thread(users.filter(pk=row.user_id).update, is_active=active)
        ring.apply_changes(await run_in_thread(read_changed_keys, ring.version_in_force))
        if not active:
            with pytest.raises(InvalidKey):
                await ring.identify_caller(meta)
    assert (await ring.identify_caller(meta)).key_id == row.pk


@committed
async def test_an_answer_that_was_on_its_way_when_its_key_changed_is_not_kept(
    watched: Watched,
) -> None:
    row, meta = await run_in_thread(create_key_headers)
    ring = Keyring(10)
    ring.apply_changes(await run_in_thread(read_changed_keys, ring.version_in_force))
    watched.gate.clear()
    asking = asyncio.create_task(ring.identify_caller(meta))
    await asyncio.to_thread(watched.reached.wait, 20)
    watched.gate.set()
    await run_in_thread(ENDS["revoked"], row)
    ring.apply_changes(await run_in_thread(read_changed_keys, ring.version_in_force))
    assert (await asking).key_id == row.pk
    with pytest.raises(InvalidKey):
        await ring.identify_caller(meta)


@committed
async def test_an_answer_that_was_on_its_way_when_the_key_was_revoked_is_not_kept(
    watched: Watched,
) -> None:
    row, meta = await run_in_thread(create_key_headers)
    ring = Keyring(10)
    watched.gate.clear()
    asking = asyncio.create_task(ring.identify_caller(meta))
    await asyncio.to_thread(
        watched.reached.wait, 20
    )  # the query has been answered with the key still good
    watched.gate.set()
    await run_in_thread(ENDS["revoked"], row)
    ring.clear_callers()
    assert (await asking).key_id == row.pk  # this one began before
    with pytest.raises(InvalidKey):
        await ring.identify_caller(meta)


@committed
async def test_who_asks_after_the_forgetting_does_not_join_a_query_from_before(
    watched: Watched,
) -> None:
    row, meta = await run_in_thread(create_key_headers)
    ring = Keyring(10)
    watched.gate.clear()
    before = asyncio.create_task(ring.identify_caller(meta))
    await asyncio.to_thread(watched.reached.wait, 20)
    await run_in_thread(ENDS["revoked"], row)
    ring.clear_callers()
    after = asyncio.create_task(ring.identify_caller(meta))
    await asyncio.sleep(0)
    watched.gate.set()
    assert (await before).key_id == row.pk
    with pytest.raises(InvalidKey):
        await after


@committed
async def test_a_key_expires_although_it_is_kept() -> None:
    row, meta = await run_in_thread(
        create_key_headers, expires_at=timezone.now() + timedelta(hours=1)
    )
    ring = Keyring(10)
    assert (await ring.identify_caller(meta)).key_id == row.pk
    known = next(iter(ring._callers))
    ring._callers[known] = Caller(
        row.pk, row.user_id, frozenset(), timezone.now().timestamp() - 0.001
    )
    with pytest.raises(InvalidKey):
        await ring.identify_caller(meta)


@committed
async def test_the_ring_is_bounded_and_those_it_dropped_are_asked_for_again(
    watched: Watched,
) -> None:
    def several() -> list[dict[str, Any]]:
        return [create_key_headers()[1] for _ in range(6)]

    metas = await run_in_thread(several)
    ring = Keyring(4)
    for meta in metas:
        await ring.identify_caller(meta)
    assert len(ring._callers) == 4
    await ring.identify_caller(metas[-1])
    assert len(watched.asked) == 6
    await ring.identify_caller(metas[0])
    assert len(watched.asked) == 7


@committed
async def test_a_database_that_fails_is_no_401_and_the_next_one_asks_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row, meta = await run_in_thread(create_key_headers)
    ring = Keyring(10)

    def away(digest: str) -> None:
        raise DatabaseError("away")

    with monkeypatch.context() as patched:
        patched.setattr(credentials, "load_caller", away)
        for _ in range(2):
            with pytest.raises((DatabaseError, GatewayError)) as caught:
                await ring.identify_caller(meta)
            assert not isinstance(caught.value, InvalidKey)
    assert (await ring.identify_caller(meta)).key_id == row.pk
