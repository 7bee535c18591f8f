"""A key gets a new secret and stays the same key; the old secret works a little longer."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from api import authentication, keys
from api.key_rights.key_rotation import KeyNotValid, rotate_key
from api.models import ApiKey, LimitSet

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def issued() -> tuple[ApiKey, str]:
    alice = User.objects.create_user("alice")
    limits = {"requests_per_minute": 5, "ip_ranges": ["10.0.0.0/8"]}
    return keys.create_key(alice, name="laptop", models=["echo"], limits=limits)


def find_caller(secret: str) -> authentication.Caller | None:
    return authentication.load_caller(keys.digest_key(secret))


def test_both_secrets_work_and_the_new_one_is_the_key(issued: tuple[ApiKey, str]) -> None:
    row, secret = issued
    old, new_secret = rotate_key(row, DAY)
    new_caller, old_caller = find_caller(new_secret), find_caller(secret)
    assert new_caller is not None
    assert old_caller is not None
    assert (new_caller.key_id, old_caller.key_id) == (row.pk, old.pk)
    assert new_caller.allowed_models == old_caller.allowed_models == {"echo"}
    assert new_caller.expires_timestamp == float("inf")
    assert abs(old_caller.expires_timestamp - timezone.now().timestamp() - 86_400) < 60
    row.refresh_from_db()
    assert (row.name, row.prefix) == ("laptop", new_secret[: keys.SHOWN_LENGTH])
    assert (old.name, old.prefix) == ("laptop (old secret)", secret[: keys.SHOWN_LENGTH])


def test_both_have_the_same_limits(issued: tuple[ApiKey, str]) -> None:
    row, _ = issued
    LimitSet.objects.create(key=row, for_each_end_user=True, concurrent_requests=1)
    old, _ = rotate_key(row, DAY)
    for key in (row, old):
        own, of_end_users = key.limit_sets.order_by("for_each_end_user")
        assert (own.requests_per_minute, own.ip_ranges) == (5, ["10.0.0.0/8"])
        assert (of_end_users.for_each_end_user, of_end_users.concurrent_requests) == (True, 1)


def test_without_an_overlap_the_old_secret_is_refused_at_once(issued: tuple[ApiKey, str]) -> None:
    row, secret = issued
    old, new_secret = rotate_key(row, timedelta())
    assert find_caller(secret) is None
    assert find_caller(new_secret) is not None
    assert old.revoked_at is not None


def test_the_old_secret_never_outlives_the_key(issued: tuple[ApiKey, str]) -> None:
    row, _ = issued
    end = timezone.now() + timedelta(hours=1)
    ApiKey.objects.update(expires_at=end)
    assert rotate_key(row, DAY)[0].expires_at == end


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
def test_a_key_that_ended_is_not_brought_back(issued: tuple[ApiKey, str], column: str) -> None:
    row, _ = issued
    ApiKey.objects.update(**{column: timezone.now() - DAY})
    with pytest.raises(KeyNotValid):
        rotate_key(row, DAY)
    assert ApiKey.objects.count() == 1
