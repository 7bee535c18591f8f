"""Rows that are inserted with one statement are those that Django would write."""

from datetime import timedelta

import pytest
from django.utils import timezone

from providers.database import row_insert
from providers.database.row_insert import insert_similar_rows
from providers.models import Tombstone

pytestmark = pytest.mark.django_db
FIELDS = ("id", "row_id", "version")


def make_rows(count: int) -> list[Tombstone]:
    now = timezone.now() + timedelta(hours=1)
    return [
        Tombstone(pk=number + 1, topic="t%s", row_id=str(number), version=number, deleted_at=now)
        for number in range(count)
    ]


@pytest.mark.parametrize("most", [20, 30_000])
def test_rows_are_written_as_they_are(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_insert, "MAX_PARAMETERS", most)
    rows = make_rows(9)
    insert_similar_rows(rows, FIELDS)
    written = list(Tombstone.objects.order_by("pk"))
    names = [field.attname for field in Tombstone._meta.concrete_fields]
    assert [[getattr(row, name) for name in names] for row in written] == [
        [getattr(row, name) for name in names] for row in rows
    ]


def test_rows_that_exist_stay() -> None:
    assert insert_similar_rows([], FIELDS) == set()
    assert insert_similar_rows(make_rows(2), FIELDS) == {1, 2}
    again = make_rows(3)
    again[0].version = 99
    assert insert_similar_rows(again, FIELDS) == {3}
    versions = Tombstone.objects.order_by("pk").values_list("version", flat=True)
    assert list(versions) == [0, 1, 2]
