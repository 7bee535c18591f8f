import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tokens.outcomes.retry_budget import RetryBudget


def retries(budget: RetryBudget, now: float, wanted: int = 10_000) -> int:
    """How many retries are allowed at this moment."""
    return next(number for number in range(wanted + 1) if not budget.take_retry(now))


def test_a_few_retries_are_allowed_without_many_requests() -> None:
    assert retries(RetryBudget(), 100.0) == 30  # three a second, of ten seconds


def test_retries_are_a_fifth_of_many_requests() -> None:
    budget = RetryBudget()
    for number in range(1_000):
        budget.count_request(100.0 + number / 200)
    assert retries(budget, 105.0) == 200


def test_what_was_used_comes_back_after_ten_seconds() -> None:
    budget = RetryBudget()
    assert retries(budget, 100.0) == 30
    assert retries(budget, 109.0) == 0
    assert retries(budget, 110.0) == 30
    assert retries(budget, 500.0) == 30


@examples(derandomize=True, database=None, deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=300))
def test_retries_of_ten_seconds_never_pass_the_share(steps: list[tuple[float, bool]]) -> None:
    budget, now, requests, taken = RetryBudget(), 1_000.0, [], []
    for pause, is_request in steps:
        now += pause
        if is_request:
            budget.count_request(now)
            requests.append(now)
        elif budget.take_retry(now):
            taken.append(now)
        recent = [at for at in taken if at > now - 9]  # what surely lies within the window
        within = [at for at in requests if at > now - 20]
        assert len(recent) <= max(30, 0.2 * len(within)) + 1


@pytest.mark.parametrize("least", [0, 1])
def test_the_least_number_is_a_setting(settings: object, least: int) -> None:
    settings.RETRIES_PER_SECOND = least  # type: ignore[attr-defined]
    assert retries(RetryBudget(), 100.0) == 10 * least
