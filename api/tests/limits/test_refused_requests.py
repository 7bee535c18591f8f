"""Refused requests become few records, however many there are."""

import pytest

from api.authentication import Caller
from api.limits import refused_requests
from api.limits.refused_requests import MOST_KINDS, RefusedRequests
from providers.exceptions import Forbidden

CALLER = Caller(7, 3, frozenset(), float("inf"))
REFUSAL = ("key requests_per_minute", Forbidden("No."))


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> RefusedRequests:
    """Refusals that all fall into one second."""
    monkeypatch.setattr(refused_requests.time, "time", lambda: 1_000.5)
    return RefusedRequests()


def make_id(number: int) -> str:
    return f"req_{number:032x}"


def test_refusals_of_one_second_and_kind_are_one_row(refused: RefusedRequests) -> None:
    for number in range(50):
        refused.add_refusal(CALLER, make_id(number), "chat/completions", "m", REFUSAL)
    [row] = refused.take_rows()
    assert row[0] == make_id(0).removeprefix("req_")
    assert 50 in row
    assert refused.take_rows() == []


def test_a_flood_of_different_refusals_is_bounded_and_all_are_counted(
    refused: RefusedRequests,
) -> None:
    for number in range(MOST_KINDS + 500):
        refused.add_refusal(CALLER, make_id(number), f"files/{number}", f"m{number}", REFUSAL)
    assert sum(refused._counts.values()) == MOST_KINDS + 500
    assert len(refused.take_rows()) == MOST_KINDS + 1
