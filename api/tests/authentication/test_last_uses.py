from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from api.authentication import (
    Keyring,
    record_last_uses,
)
from api.models import ApiKey
from api.tests.authentication.given_keys import create_key_headers
from providers.database.database_threads import run_in_thread

committed = pytest.mark.usefixtures("transactional_db")


@committed
async def test_the_last_use_is_noted_at_most_once_a_minute_and_written() -> None:
    row, meta = await run_in_thread(create_key_headers)
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
    rows = [create_key_headers(f"user {number}")[0] for number in range(20)]
    now = timezone.now()
    used = {row.pk: now + timedelta(seconds=row.pk) for row in reversed(rows)}
    with django_assert_num_queries(1):
        record_last_uses(used | {0: now})
    assert dict(ApiKey.objects.values_list("pk", "last_used_at")) == used
    seen = {row.pk: row.changed for row in ApiKey.objects.all()}
    record_last_uses(used)
    assert {row.pk: row.changed for row in ApiKey.objects.all()} == seen
