"""The parts in which roll-ups and records are compared."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from api.usage import rollup_comparisons

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.django_db
def test_few_records_are_compared_at_once_however_long_their_span() -> None:
    end = BEGIN + timedelta(days=400)
    slices = rollup_comparisons.list_slices(BEGIN, end)
    assert len(slices) <= 2
    assert (slices[0][0], slices[-1][1]) == (BEGIN, end)


def test_many_records_are_compared_in_parts_of_whole_hours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rollup_comparisons.connection, "vendor", "postgresql")
    monkeypatch.setattr(rollup_comparisons, "read_records_size", lambda: 2**30)
    end = BEGIN + timedelta(days=30)
    slices = rollup_comparisons.list_slices(BEGIN, end)
    assert len(slices) > 16
    assert slices[0][0] == BEGIN
    assert slices[-1][1] == end
    assert all(first[1] == second[0] for first, second in pairwise(slices))
    assert all(not begin.minute for begin, _ in slices)


@pytest.mark.django_db
def test_an_empty_span_has_no_part() -> None:
    assert rollup_comparisons.list_slices(BEGIN, BEGIN) == []
