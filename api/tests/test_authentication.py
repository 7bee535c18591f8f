import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.request import Request

from api import authentication, keys
from api.authentication import (
    INVALID_KEY_TEXT,
    Caller,
    KeyAuthentication,
    Keyring,
    StaffAuthentication,
    read_changed_keys,
    read_credential,
    record_last_uses,
)
from api.models import ApiKey
from providers.database.database_threads import run_in_thread
from providers.exceptions import Forbidden, GatewayError, InvalidKey, InvalidRequest

committed = pytest.mark.usefixtures("transactional_db")


def headers(authorization: str | None = None, x_api_key: str | None = None) -> dict[str, Any]:
    found = {"HTTP_AUTHORIZATION": authorization, "HTTP_X_API_KEY": x_api_key}
    return {name: value for name, value in found.items() if value is not None}


# --- the credential of a request ------------------------------------------------------------------
@pytest.mark.parametrize(
    "given",
    [
        headers("Bearer KEY"),
        headers("bearer KEY"),
        headers("BEARER KEY"),
        headers("Bearer   KEY  "),
        headers(None, "KEY"),
        headers("Bearer KEY", "KEY"),
        headers("Bearer KEY", ""),
    ],
    ids=str,
)
def test_one_credential_is_found_wherever_it_stands(given: dict[str, Any]) -> None:
    assert read_credential(given) == "KEY"


@pytest.mark.parametrize(
    "given",
    [
        headers(),
        headers(""),
        headers(" "),
        headers("Bearer"),
        headers("Bearer "),
        headers("Bearer\tKEY"),
        headers("BearerKEY"),
        headers("Basic dXNlcjpwYXNz"),
        headers("Token KEY"),
        headers("KEY"),
        headers(None, ""),
        headers("Bearer é"),
        headers("Bearer \u0661"),
        headers("Bearer K\0Y"),
        headers("Bearer K\x7fY"),
        headers("Bearer K\nY"),
        headers("Bearer " + "K" * 8_192),
        headers(None, "K" * 513),
        headers(None, "é"),
        headers(None, "\udc80"),
    ],
    ids=lambda given: str(given)[:60],
)
def test_a_missing_or_unusable_credential_is_a_401_that_repeats_nothing(
    given: dict[str, Any],
) -> None:
    with pytest.raises(InvalidKey) as caught:
        read_credential(given)
    assert (caught.value.shown_status, caught.value.shown_code) == (401, "invalid_api_key")
    assert "KKK" not in caught.value.message
    assert "dXNlcjpwYXNz" not in caught.value.message


def test_two_different_keys_are_a_400() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_credential(headers("Bearer KEY", "OTHER"))
    assert (caught.value.shown_status, caught.value.shown_code) == (400, "ambiguous_credentials")


# --- a caller -------------------------------------------------------------------------------------
def test_a_caller_without_a_list_of_models_may_use_all() -> None:
    Caller(1, 1, frozenset(), float("inf")).require_model("any alias", "anything")


def test_a_caller_with_a_list_may_use_the_models_it_names_by_public_id_or_alias() -> None:
    caller = Caller(1, 1, frozenset({"kimi-k2", "fast"}), float("inf"))
    for name, public_id in (("kimi-k2", "kimi-k2"), ("alias", "kimi-k2"), ("fast", "another")):
        caller.require_model(name, public_id)
    for name, public_id in (
        ("another", "another"),
        ("alias", "another"),
        ("kimi", "kimi"),
        ("FAST", "another"),
    ):
        with pytest.raises(Forbidden) as caught:
            caller.require_model(name, public_id)
        assert (caught.value.shown_status, caught.value.shown_code) == (403, "model_not_allowed")
        assert (caught.value.param, caught.value.type) == ("model", "permission_error")
        assert public_id == name or public_id not in caught.value.message


# --- the keyring ----------------------------------------------------------------------------------
def issued(name: str = "alice", **fields: Any) -> tuple[ApiKey, dict[str, Any]]:
    user, _ = get_user_model().objects.get_or_create(username=name)
    row, key = keys.create_key(user, **fields)
    return row, headers(f"Bearer {key}")


class Watched:
    """The real query, counted, and held back while `gate` is closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self._find = authentication.load_caller
        monkeypatch.setattr(authentication, "load_caller", self)

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
    row, meta = await run_in_thread(issued, models=["echo"])
    ring = Keyring(10)
    callers = [await ring.identify_caller(meta) for _ in range(5)]
    assert {(caller.key_id, caller.user_id, caller.allowed_models) for caller in callers} == {
        (row.pk, row.user_id, frozenset({"echo"}))
    }
    assert len(watched.asked) == 1


@committed
async def test_a_hundred_who_ask_at_once_cost_one_query(watched: Watched) -> None:
    row, meta = await run_in_thread(issued)
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
    row, meta = await run_in_thread(issued)
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
    row, meta = await run_in_thread(issued)
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
        await run_in_thread(issued),
        await run_in_thread(issued, "mallory"),
    )
    ring = Keyring(10)
    ring.apply_changes(await run_in_thread(read_changed_keys, ring.version_in_force))
    for each in (meta, others_meta):
        await ring.identify_caller(each)
    await run_in_thread(ENDS[end], row)
    await run_in_thread(issued, "a third")
    ring.apply_changes(await run_in_thread(read_changed_keys, ring.version_in_force))
    watched.asked.clear()
    assert (await ring.identify_caller(others_meta)).key_id == other.pk
    assert watched.asked == []
    with pytest.raises(InvalidKey):
        await ring.identify_caller(meta)
    assert len(watched.asked) == 1


@committed
async def test_a_user_who_is_switched_on_again_is_let_in_again() -> None:
    row, meta = await run_in_thread(issued)
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
    row, meta = await run_in_thread(issued)
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
    row, meta = await run_in_thread(issued)
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
    row, meta = await run_in_thread(issued)
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
    row, meta = await run_in_thread(issued, expires_at=timezone.now() + timedelta(hours=1))
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
        return [issued()[1] for _ in range(6)]

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
    row, meta = await run_in_thread(issued)
    ring = Keyring(10)

    def away(digest: str) -> None:
        raise DatabaseError("away")

    with monkeypatch.context() as patched:
        patched.setattr(authentication, "load_caller", away)
        for _ in range(2):
            with pytest.raises((DatabaseError, GatewayError)) as caught:
                await ring.identify_caller(meta)
            assert not isinstance(caught.value, InvalidKey)
    assert (await ring.identify_caller(meta)).key_id == row.pk


@committed
async def test_the_last_use_is_noted_at_most_once_a_minute_and_written() -> None:
    row, meta = await run_in_thread(issued)
    ring = Keyring(10)
    await ring.identify_caller(meta)
    used, ring.unwritten_uses = ring.unwritten_uses, {}
    assert set(used) == {row.pk}
    await ring.identify_caller(meta)
    ring.clear_callers()
    await ring.identify_caller(meta)
    assert ring.unwritten_uses == {}
    await run_in_thread(record_last_uses, used)
    found = await run_in_thread(ApiKey.objects.get, pk=row.pk)
    assert found.last_used_at == used[row.pk]


@pytest.mark.django_db
def test_last_uses_are_written_in_one_statement(django_assert_num_queries: Any) -> None:
    rows = [issued(f"user {number}")[0] for number in range(20)]
    now = timezone.now()
    used = {row.pk: now + timedelta(seconds=row.pk) for row in reversed(rows)}
    with django_assert_num_queries(1):
        record_last_uses(used | {0: now})
    assert dict(ApiKey.objects.values_list("pk", "last_used_at")) == used
    seen = {row.pk: row.changed for row in ApiKey.objects.all()}
    record_last_uses(used)
    assert {row.pk: row.changed for row in ApiKey.objects.all()} == seen


# --- DRF ------------------------------------------------------------------------------------------
def request(meta: dict[str, Any]) -> Request:
    return Request(RequestFactory().get("/v1/models", **meta))


@pytest.mark.django_db
def test_a_drf_request_with_a_key_has_its_user_and_caller() -> None:
    row, meta = issued()
    for given in (meta, headers(None, meta["HTTP_AUTHORIZATION"].partition(" ")[2])):
        user, caller = KeyAuthentication().authenticate(request(given))
        assert (user.pk, caller.key_id) == (row.user_id, row.pk)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "given",
    [headers(), headers("Basic x"), headers("Bearer sk-ps-unknown"), headers(None, "é")],
    ids=str,
)
def test_a_drf_request_without_a_valid_key_is_a_401(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidKey):
        KeyAuthentication().authenticate(request(given))
    assert KeyAuthentication().authenticate_header(request(given)) == "Bearer"


@pytest.mark.parametrize(
    ("staff", "active", "known"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_only_active_staff_is_known_by_its_session(staff: bool, active: bool, known: bool) -> None:
    asked = request({})
    asked._request.user = get_user_model()(username="operator", is_staff=staff, is_active=active)
    found = StaffAuthentication().authenticate(asked)
    assert (found is not None) == known


def test_without_a_session_staff_authentication_leaves_it_to_the_next() -> None:
    assert StaffAuthentication().authenticate(request({})) is None
