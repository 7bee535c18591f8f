import string
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from api import keys
from api.authentication import load_caller
from api.models import ApiKey
from providers import vault

rows = pytest.mark.django_db


@pytest.fixture
def alice(db: None) -> User:
    return get_user_model().objects.create_user("alice")


def test_a_key_has_its_prefix_256_random_bits_and_a_checksum() -> None:
    key = keys.generate_key()
    body, check = key[6:-6], key[-6:]
    assert key.startswith("sk-ps-")
    assert len(body) == 43
    assert 62**43 > 2**256
    assert set(body + check) <= set(string.digits + string.ascii_letters)
    assert keys.compute_checksum(body) == check


def test_keys_are_all_different_and_use_the_whole_alphabet() -> None:
    made = {keys.generate_key() for _ in range(500)}
    assert len(made) == 500
    assert set("".join(key[6:-6] for key in made)) == set(keys.ALPHABET)
    assert len({key[: keys.SHOWN_LENGTH] for key in made}) == 500


def test_a_typing_mistake_does_not_pass_the_checksum() -> None:
    body = keys.generate_key()[6:-6]
    wrong = [
        body[:place] + ("a" if body[place] != "a" else "b") + body[place + 1 :]
        for place in range(len(body))
    ]
    assert keys.compute_checksum(body) not in {keys.compute_checksum(text) for text in wrong}


def test_the_digest_is_of_the_whole_key_and_of_the_pepper(settings: Any) -> None:
    settings.KEY_PEPPER = "one"
    key = keys.generate_key()
    found = {
        keys.digest_key(key),
        keys.digest_key(key[:-1]),
        keys.digest_key(key[:-1] + "\u00e9"),
        vault.fingerprint_secret(key),
    }
    settings.KEY_PEPPER = "two"
    found.add(keys.digest_key(key))
    assert len(found) == 5


@rows
def test_an_issued_key_is_found_by_its_digest_and_stands_nowhere_in_clear(alice: User) -> None:
    row, key = keys.create_key(
        alice,
        name="laptop",
        models=["echo", "kimi-k2"],
        expires_at=timezone.now() + timedelta(days=1),
    )
    caller = load_caller(keys.digest_key(key))
    assert caller is not None
    assert (caller.key_id, caller.user_id, caller.allowed_models) == (
        row.pk,
        alice.pk,
        {"echo", "kimi-k2"},
    )
    assert caller.expires_timestamp == pytest.approx(row.expires_at.timestamp())
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM api_apikey")
        stored = repr(cursor.fetchall())
    assert key not in stored
    assert key[keys.SHOWN_LENGTH :] not in stored
    assert str(row) == f"{key[:16]}…"


@rows
def test_two_keys_that_begin_alike_are_two_callers(alice: User) -> None:
    mallory = get_user_model().objects.create_user("mallory")
    _, first = keys.create_key(alice)
    second = first[:-1] + ("a" if first[-1] != "a" else "b")
    ApiKey.objects.create(user=mallory, prefix="other", digest=keys.digest_key(second))
    assert load_caller(keys.digest_key(first)).user_id == alice.pk  # type: ignore[union-attr]
    assert load_caller(keys.digest_key(second)).user_id == mallory.pk  # type: ignore[union-attr]
    assert load_caller(keys.digest_key(first[:40])) is None


@rows
@pytest.mark.parametrize(
    "end",
    ["revoke the key", "let it expire", "close its user", "delete the key", "delete its user"],
)
def test_a_key_that_ended_is_not_found(alice: User, end: str) -> None:
    row, key = keys.create_key(alice)
    deeds = {
        "revoke the key": lambda: ApiKey.objects.filter(pk=row.pk).revoke(),
        "let it expire": lambda: ApiKey.objects.update(expires_at=timezone.now()),
        "close its user": lambda: get_user_model().objects.update(is_active=False),
        "delete the key": row.delete,
        "delete its user": alice.delete,
    }
    deeds[end]()
    assert load_caller(keys.digest_key(key)) is None


@rows
def test_revoking_counts_only_those_that_were_not_yet_and_keeps_the_first_time(alice: User) -> None:
    row, _ = keys.create_key(alice)
    keys.create_key(alice)
    assert ApiKey.objects.filter(pk=row.pk).revoke() == 1
    row.refresh_from_db()
    first = row.revoked_at
    assert ApiKey.objects.all().revoke() == 1
    assert ApiKey.objects.all().revoke() == 0
    row.refresh_from_db()
    assert row.revoked_at == first


@rows
def test_expired_is_told_by_the_time(alice: User) -> None:
    now = timezone.now()
    told = [
        ApiKey(user=alice, expires_at=at).is_expired
        for at in (None, now + timedelta(minutes=1), now)
    ]
    assert told == [False, False, True]


@rows
def test_a_digest_and_a_prefix_stand_once(alice: User) -> None:
    row, _ = keys.create_key(alice)
    for fields in (
        {"prefix": row.prefix, "digest": "other"},
        {"prefix": "other", "digest": row.digest},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            ApiKey.objects.create(user=alice, **fields)


@rows
@pytest.mark.parametrize("models", ["echo", {"a": 1}, [""], [5], [None], [["echo"]]], ids=repr)
def test_a_list_of_models_that_is_none_is_refused(alice: User, models: Any) -> None:
    row = ApiKey(user=alice, prefix="p", digest="d", allowed_models=models)
    with pytest.raises(ValidationError, match="model ids"):
        row.clean_fields()
