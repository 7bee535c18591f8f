"""Tokens that rest, wake, expire or leave, and the trial of a token that woke."""

import random
from collections import Counter
from uuid import UUID

import pytest

from tokens.pool.rotation import TRIAL_SECONDS
from tokens.tests.pool.rings import ROTATIONS, entry, picks, ring


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_resting_token_is_passed_over_until_it_wakes(rotation: str) -> None:
    found = ring(rotation, entry(1, rests_until=130.0), entry(2))
    assert set(picks(found, 5, now=100.0)) == {2}
    assert set(picks(found, 5, now=129.9)) == {2}
    assert found.find_wait_seconds(129.0) == pytest.approx(1.0)
    random.seed(14)
    assert set(picks(found, 40, now=130.0)) == {1, 2}
    assert found.find_wait_seconds(130.0) is None


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_when_all_rest_nothing_is_picked_and_the_first_to_wake_is_told(rotation: str) -> None:
    found = ring(
        rotation,
        entry(1, rests_until=150.0),
        entry(2, rests_until=120.0),
        entry(3, rests_until=180.0),
    )
    assert found.pick_token(100.0) is None
    assert found.find_wait_seconds(100.0) == pytest.approx(20.0)
    assert picks(found, 1, now=121.0) == [2]
    assert found.find_wait_seconds(121.0) == pytest.approx(29.0)


def test_a_rest_that_was_prolonged_counts_as_the_longer_one() -> None:
    one = entry(1, rests_until=110.0)
    found = ring("round_robin", one)
    one.rests_until = 160.0
    found.place_entry(one, 100.0)
    assert found.find_wait_seconds(100.0) == pytest.approx(60.0)
    assert found.pick_token(111.0) is None
    assert found.pick_token(161.0) is one


def test_a_rest_that_was_ended_early_counts_no_more() -> None:
    one = entry(1, rests_until=160.0)
    found = ring("round_robin", one)
    one.rests_until = 0.0
    found.place_entry(one, 100.0)
    assert found.find_wait_seconds(100.0) is None
    assert picks(found, 3) == [1, 1, 1]
    assert picks(found, 3, now=170.0) == [1, 1, 1]


def test_a_token_that_rests_from_now_on_leaves_the_ready_ones() -> None:
    one, two = entry(1), entry(2)
    found = ring("round_robin", one, two)
    one.rests_until = 200.0
    found.place_entry(one, 100.0)
    assert picks(found, 3) == [2, 2, 2]


def test_a_disabled_token_is_not_picked_even_after_its_rest() -> None:
    one = entry(1, rests_until=110.0)
    found = ring("round_robin", one)
    one.state = "disabled"
    found.place_entry(one, 100.0)
    assert found.find_wait_seconds(100.0) is None
    assert found.pick_token(120.0) is None


def test_an_exhausted_token_is_used_again_when_its_rest_is_over() -> None:
    assert picks(
        ring("round_robin", entry(1, state="exhausted", rests_until=110.0)), 1, now=111.0
    ) == [1]


def test_a_token_expires_while_it_is_ready_and_while_it_rests() -> None:
    found = ring(
        "round_robin",
        entry(1, valid_until=105.0),
        entry(2, rests_until=103.0, valid_until=106.0),
        entry(3),
    )
    assert set(picks(found, 6, now=104.0)) == {1, 2, 3}
    assert set(picks(found, 6, now=107.0)) == {3}


def test_a_token_that_expires_before_it_wakes_is_not_waited_for() -> None:
    found = ring("round_robin", entry(1, rests_until=150.0, valid_until=120.0))
    assert found.find_wait_seconds(121.0) is None


def test_a_removed_token_is_gone_wherever_it_stood() -> None:
    found = ring("round_robin", entry(1), entry(2, rests_until=110.0), entry(3))
    for number in (1, 2):
        found.remove_entry(UUID(int=number))
    found.remove_entry(UUID(int=77))
    assert found.find_wait_seconds(100.0) is None
    assert picks(found, 3, now=120.0) == [3, 3, 3]
    assert set(found.entries) == {UUID(int=3)}


def test_a_token_put_many_times_is_still_one() -> None:
    one, two = entry(1), entry(2)
    found = ring("round_robin", one, two)
    for _ in range(50):
        found.place_entry(one, 100.0)
    assert Counter(picks(found, 40)) == {1: 20, 2: 20}


# --- trials ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_token_that_woke_gets_one_call_until_that_has_told(rotation: str) -> None:
    one = entry(1, rests_until=110.0)
    found = ring(rotation, one)
    assert found.pick_token(111.0) is one
    assert found.pick_token(111.0) is None
    assert found.find_trial_seconds(111.0) == pytest.approx(TRIAL_SECONDS)
    one.is_on_trial, one.held_until = False, 0.0
    assert picks(found, 3, now=111.0) == [1, 1, 1]


def test_a_trial_that_tells_nothing_holds_a_token_for_a_moment_only() -> None:
    one = entry(1, rests_until=110.0)
    found = ring("round_robin", one)
    assert found.pick_token(111.0) is one
    assert found.pick_token(111.0 + TRIAL_SECONDS) is one


def test_a_struck_token_has_one_call_at_a_time() -> None:
    found = ring("round_robin", entry(1, strikes=1))
    assert picks(found, 3) == [1]


def test_who_was_refused_once_gets_tokens_that_are_not_on_trial() -> None:
    found = ring("round_robin", entry(1, rests_until=110.0), entry(2))
    found.pick_token(111.0)
    assert {
        picked.id.int for _ in range(3) if (picked := found.pick_token(120.0, wants_proven=True))
    } == {2}


# --- failing tokens -------------------------------------------------------------------------------
def test_a_failing_token_is_picked_only_when_asked_for_the_one_that_wakes_first() -> None:
    slow = entry(1, state="failing", rests_until=180.0, failures_in_row=3)
    soon = entry(2, state="failing", rests_until=120.0, failures_in_row=1)
    found = ring("round_robin", slow, soon)
    assert found.pick_token(100.0) is None
    assert found.pick_failing_token(100.0) is soon
    assert found.pick_failing_token(100.0) is slow  # the first one is on trial now
    assert found.pick_failing_token(100.0) is None
