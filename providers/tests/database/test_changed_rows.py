from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from providers.database.changed_rows import (
    Changes,
    delete_old_tombstones,
    read_changes,
    read_floor,
    read_version,
)
from providers.models import Provider, Revision, Tombstone
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db
TOPIC = "tokens"


@pytest.fixture
def rows() -> list[UpstreamToken]:
    provider = Provider.objects.create(name="p", kind="echo")
    return UpstreamToken.objects.bulk_create(
        [UpstreamToken.from_secret(provider, f"sk-made-up-{n}") for n in range(4)]
    )


def read(seen: int) -> Changes:
    return read_changes(TOPIC, UpstreamToken.objects.all(), ("id",), seen)


def test_what_was_seen_before_is_not_read_again(rows: list[UpstreamToken]) -> None:
    first = read(-1)
    assert first.has_all_rows
    assert {row[0] for row in first.rows} >= {row.pk for row in rows}
    assert read(first.version) == Changes(first.version, False, [], [])
    UpstreamToken.objects.filter(pk=rows[1].pk).update(strikes=1)
    rows[2].delete()
    found = read(first.version)
    assert (found.has_all_rows, [row[0] for row in found.rows], len(found.deleted_ids)) == (
        False,
        [rows[1].pk],
        1,
    )
    assert read(found.version).deleted_ids == []


def test_a_version_that_is_not_reached_yet_is_of_another_database(
    rows: list[UpstreamToken],
) -> None:
    assert read(read_version(TOPIC) + 1).has_all_rows


def test_a_topic_without_a_row_is_read_whole() -> None:
    Revision.objects.filter(topic=TOPIC).delete()
    assert read(-1) == Changes(0, True, [], [])
    assert read(0) == Changes(0, False, [], [])


def test_old_tombstones_are_deleted_and_lift_the_floor_up_to_them(
    rows: list[UpstreamToken], settings: Any
) -> None:
    settings.TOMBSTONE_SECONDS = 3_600
    Tombstone.objects.all().delete()
    before = read_version(TOPIC)
    rows[0].delete()
    long_ago = read_version(TOPIC)
    Tombstone.objects.update(deleted_at=timezone.now() - timedelta(hours=2))
    rows[1].delete()
    now = read_version(TOPIC)
    assert delete_old_tombstones() == 1
    assert read_floor(TOPIC) == long_ago
    assert read_version(TOPIC) == now
    assert read(before).has_all_rows
    assert (read(long_ago).has_all_rows, len(read(long_ago).deleted_ids)) == (False, 1)
    assert delete_old_tombstones() == 0


def test_tombstones_that_are_deleted_while_somebody_reads_are_noticed(
    rows: list[UpstreamToken], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The floor is read after the tombstones."""
    seen = read_version(TOPIC)
    rows[0].delete()
    from providers.database import changed_rows

    real = changed_rows.read_floor

    def pruned(topic: str) -> int:
        Revision.objects.filter(topic=topic).update(floor=read_version(topic))
        return real(topic)

    monkeypatch.setattr(changed_rows, "read_floor", pruned)
    assert read(seen).has_all_rows
