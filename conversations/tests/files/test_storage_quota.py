"""The sum of a user's stored bytes, which this process keeps between two measurements."""

import pytest
from django.db import transaction

from conversations.files import storage_quota
from proxysite.testing.rows import Person

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_a_rollback_adds_nothing_to_the_sum(alice: Person) -> None:
    user_id = alice.user.pk
    before = storage_quota.get_stored_size(user_id, most_age_seconds=60)
    with transaction.atomic():
        storage_quota.add_bytes_on_commit(user_id, 1_000)
        transaction.set_rollback(True)
    assert storage_quota.get_stored_size(user_id, most_age_seconds=60) == before
    with transaction.atomic():
        storage_quota.add_bytes_on_commit(user_id, 1_000)
        assert storage_quota.get_stored_size(user_id, most_age_seconds=60) == before
    assert storage_quota.get_stored_size(user_id, most_age_seconds=60) == before + 1_000
