"""Which changes of API keys and users raise the version of the keys."""

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from api.models import ApiKey
from providers.tests.database.topics import Bumped, find_tombstones, list_ids, version

pytestmark = pytest.mark.django_db
POSTGRES = connection.vendor == "postgresql"


def test_what_decides_whether_a_key_is_accepted_raises_the_keys() -> None:
    with Bumped() as bumped:
        user = get_user_model().objects.create_user("alice")
    assert bumped.topics <= {"keys"}
    key = ApiKey.objects.create(user=user, prefix="sk-ps-1", digest="d1")
    deeds = {
        "revoke": lambda: ApiKey.objects.all().revoke(),
        "expire": lambda: ApiKey.objects.update(expires_at=timezone.now()),
        "models": lambda: ApiKey.objects.update(allowed_models=["echo"]),
        "digest": lambda: ApiKey.objects.update(digest="d2"),
        "the user is closed": lambda: get_user_model().objects.update(is_active=False),
        "a new key": lambda: ApiKey.objects.create(user=user, prefix="sk-ps-2", digest="d3"),
        "the key is deleted": lambda: ApiKey.objects.filter(pk=key.pk).delete(),
        "the user is deleted": lambda: user.delete(),
    }
    for name, deed in deeds.items():
        with Bumped() as bumped:
            deed()
        assert bumped.topics == {"keys"}, name


def test_a_changed_key_is_stamped_and_no_other() -> None:
    user = get_user_model().objects.create_user("alice")
    first, second = (
        ApiKey.objects.create(user=user, prefix=f"sk-ps-{n}", digest=f"d{n}") for n in range(2)
    )
    seen = version("keys")
    ApiKey.objects.filter(pk=first.pk).revoke()
    assert list(ApiKey.objects.filter(changed__gt=seen)) == [first]
    seen = version("keys")
    expected = list_ids(second)
    second.delete()
    assert find_tombstones("keys", seen) == expected
    assert not ApiKey.objects.filter(changed__gt=seen).exists()


def test_a_user_who_is_switched_on_or_off_changes_his_keys_and_no_others() -> None:
    alice, mallory = (get_user_model().objects.create_user(name) for name in ("alice", "mallory"))
    keys = [
        ApiKey.objects.create(user=alice, prefix=f"sk-ps-{n}", digest=f"d{n}") for n in range(2)
    ]
    ApiKey.objects.create(user=mallory, prefix="sk-ps-9", digest="d9")
    for active in (False, True):
        seen = version("keys")
        get_user_model().objects.filter(pk=alice.pk).update(is_active=active)
        assert set(ApiKey.objects.filter(changed__gt=seen)) == set(keys)
    seen = version("keys")
    alice.save()  # as it is
    assert not ApiKey.objects.filter(changed__gt=seen).exists()


def test_last_use_and_sign_ins_raise_nothing() -> None:
    user = get_user_model().objects.create_user("alice")
    ApiKey.objects.create(user=user, prefix="sk-ps-1", digest="d1")
    with Bumped() as bumped:
        ApiKey.objects.update(last_used_at=timezone.now(), name="laptop")
        get_user_model().objects.update(last_login=timezone.now(), email="a@example.com")
    assert bumped.topics == set()
