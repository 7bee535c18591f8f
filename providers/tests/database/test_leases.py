"""The verbs and questions of leases, on one row that has one."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now

from providers.database.leases import is_expired, is_free, is_held
from providers.models import Deletion

pytestmark = pytest.mark.django_db
LEASE = "alive_until"


@pytest.fixture(autouse=True)
def row() -> Deletion:
    return Deletion.objects.create(model="auth.user", name="bob", requested_by="alice")


def standing() -> list[str]:
    """Return which of the conditions hold for the row."""
    conditions = {"free": is_free, "held": is_held, "expired": is_expired}
    return [
        name
        for name, condition in conditions.items()
        if Deletion.objects.filter(condition(LEASE)).exists()
    ]


def expire() -> None:
    Deletion.objects.update(alive_until=Now() - timedelta(seconds=1))


def test_a_lease_is_free_held_or_expired() -> None:
    assert standing() == ["free"]
    Deletion.objects.claim_lease(LEASE, 60)
    assert standing() == ["held"]
    expire()
    assert standing() == ["free", "expired"]
    Deletion.objects.release_lease(LEASE)
    assert standing() == ["free"]


def test_a_lease_is_claimed_by_one_until_it_ends() -> None:
    assert Deletion.objects.claim_lease(LEASE, 60, requested_by="first") == 1
    assert Deletion.objects.claim_lease(LEASE, 60, requested_by="second") == 0
    assert Deletion.objects.get().requested_by == "first"
    expire()
    assert Deletion.objects.claim_lease(LEASE, 60, requested_by="third") == 1
    assert Deletion.objects.get().requested_by == "third"


def test_a_renewed_lease_ends_later_and_values_are_written_with_it(row: Deletion) -> None:
    Deletion.objects.claim_lease(LEASE, 60)
    first = Deletion.objects.get().alive_until
    assert Deletion.objects.renew_lease(LEASE, 120, removed=F("removed") + 2) == 1
    renewed = Deletion.objects.get()
    assert renewed.removed == 2
    assert first is not None
    assert renewed.alive_until is not None
    assert renewed.alive_until - first > timedelta(seconds=59)


def test_a_released_lease_can_be_claimed_at_once() -> None:
    Deletion.objects.claim_lease(LEASE, 60)
    assert Deletion.objects.release_lease(LEASE, name="done") == 1
    assert Deletion.objects.get().name == "done"
    assert Deletion.objects.claim_lease(LEASE, 60) == 1
