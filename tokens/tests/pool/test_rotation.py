"""The order of turns in each rotation, and how many tokens are in which state."""

import math
import random
from collections import Counter
from itertools import pairwise
from uuid import UUID

import pytest

from tokens.pool.pooled_token import FOREVER, find_pool_state
from tokens.tests.pool.rings import ROTATIONS, entry, picks, ring


def test_round_robin_uses_one_after_the_other_in_the_order_they_came() -> None:
    assert picks(ring("round_robin", entry(3), entry(1), entry(2)), 7) == [3, 1, 2, 3, 1, 2, 3]


def test_a_newcomer_of_a_round_robin_waits_for_its_turn() -> None:
    found = ring("round_robin", entry(1), entry(2))
    picks(found, 1)
    found.place_entry(entry(3), 100.0)
    assert picks(found, 3) == [2, 1, 3]


def test_least_used_evens_the_uses_out() -> None:
    found = ring("least_used", *(entry(number) for number in range(1, 5)))
    assert Counter(picks(found, 400)) == dict.fromkeys(range(1, 5), 100)


def test_a_newcomer_of_least_used_does_not_take_all_the_traffic() -> None:
    found = ring("least_used", entry(1), entry(2))
    picks(found, 1_000)
    found.place_entry(entry(3), 100.0)
    assert 30 <= Counter(picks(found, 99))[3] <= 36


def test_priority_uses_the_lowest_in_turn_and_the_others_only_when_it_must() -> None:
    low, first, second = entry(9, priority=5), entry(1, priority=-1), entry(2, priority=-1)
    found = ring("priority", low, first, second)
    assert picks(found, 4) == [1, 2, 1, 2]
    assert found.pick_token(100.0, {first.id, second.id}) is low
    for one in (first, second):
        one.state = "disabled"
        found.place_entry(one, 100.0)
    assert picks(found, 2) == [9, 9]


def test_random_gives_each_token_its_weight() -> None:
    random.seed(11)
    weights = {1: 1, 2: 2, 3: 5}
    found = ring("random", *(entry(number, weight=weight) for number, weight in weights.items()))
    draws = 16_000
    counted = Counter(picks(found, draws))
    for number, weight in weights.items():
        share = weight / sum(weights.values())
        assert abs(counted[number] - draws * share) < 5 * math.sqrt(draws * share * (1 - share))


def test_random_follows_no_fixed_cycle() -> None:
    random.seed(12)
    drawn = picks(ring("random", entry(1), entry(2), entry(3)), 3_000)
    pairs = Counter(pairwise(drawn))
    assert len(pairs) == 9  # every token follows every token, itself too
    assert min(pairs.values()) > 50


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_every_rotation_uses_every_ready_token(rotation: str) -> None:
    random.seed(13)
    assert set(picks(ring(rotation, *(entry(number) for number in range(20))), 400)) == set(
        range(20)
    )


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_an_empty_ring_gives_nothing(rotation: str) -> None:
    assert ring(rotation).pick_token(100.0) is None
    assert ring(rotation).find_wait_seconds(100.0) is None


# --- tokens that were tried already ---------------------------------------------------------------
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_token_that_was_tried_is_passed_over_and_keeps_its_place(rotation: str) -> None:
    found = ring(rotation, *(entry(number) for number in range(4)))
    tried: set[UUID] = set()
    for _ in range(4):
        picked = found.pick_token(100.0, tried)
        assert picked is not None
        assert picked.id not in tried
        tried.add(picked.id)
    assert found.pick_token(100.0, tried) is None
    random.seed(15)
    assert set(picks(found, 100)) == {0, 1, 2, 3}


def test_those_passed_over_are_next_when_they_may_be() -> None:
    found = ring("round_robin", *(entry(number) for number in range(4)))
    picked = found.pick_token(100.0, {UUID(int=0), UUID(int=1)})
    assert picked is not None
    assert picked.id.int == 2
    assert picks(found, 4) == [0, 1, 3, 2]


# --- limits of one model --------------------------------------------------------------------------
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_token_that_is_limited_for_one_model_answers_for_others(rotation: str) -> None:
    one, two = entry(1), entry(2)
    found = ring(rotation, one, two)
    found.limit_model(one, "big", 130.0)
    assert {found.pick_token(100.0, model="big") for _ in range(4)} == {two}
    random.seed(15)
    assert {found.pick_token(100.0, model="small") for _ in range(40)} == {one, two}
    assert found.find_wait_seconds(100.0, "big") == pytest.approx(30.0)
    assert found.find_wait_seconds(100.0, "small") is None
    assert found.count_limited_tokens("big", 100.0) == 1
    assert {found.pick_token(131.0, model="big") for _ in range(40)} == {one, two}


# --- counts ---------------------------------------------------------------------------------------
def test_counts_are_those_of_the_moment() -> None:
    found = ring(
        "round_robin",
        entry(1),
        entry(2, rests_until=110.0),
        entry(3, rests_until=120.0, state="exhausted"),
        entry(4, rests_until=130.0, state="failing"),
        entry(5, state="disabled"),
        entry(6, valid_until=140.0),
    )

    def counts(now: float) -> dict[str, int]:
        return {
            standing: number for standing, number in found.count_by_state(now).items() if number
        }

    assert counts(100.0) == {"ready": 2, "limited": 1, "exhausted": 1, "failing": 1, "disabled": 1}
    assert counts(115.0) == {"ready": 3, "exhausted": 1, "failing": 1, "disabled": 1}
    assert counts(135.0) == {"ready": 5, "disabled": 1}
    assert counts(150.0) == {"ready": 4, "disabled": 1, "expired": 1}
    found.remove_entry(UUID(int=1))
    assert counts(150.0) == {"ready": 3, "disabled": 1, "expired": 1}


def test_counts_agree_with_the_tokens_after_any_changes() -> None:
    draw = random.Random(16)
    found = ring("least_used", *(entry(number) for number in range(30)))
    now = 100.0
    for _ in range(2_000):
        now += draw.random()
        one = draw.choice(list(found.entries.values()))
        one.state = draw.choice(["active", "exhausted", "failing", "disabled"])
        one.rests_until = now + draw.choice([-1, 0, 1, 5, 30])
        one.valid_until = draw.choice([FOREVER, FOREVER, now + 3])
        found.place_entry(one, now)
        found.pick_token(now)
        truth = Counter(find_pool_state(each, now) for each in found.entries.values())
        assert +Counter(found.count_by_state(now)) == truth


# --- the beginning --------------------------------------------------------------------------------
def test_rings_that_are_made_together_do_not_begin_with_one_token() -> None:
    random.seed(17)
    begins = set()
    for _ in range(40):
        found = ring("round_robin", *(entry(number) for number in range(10)))
        found.shuffle_turns()
        order = picks(found, 20)
        assert sorted(order) == sorted([*range(10)] * 2)
        assert order[:10] == order[10:]
        begins.add(order[0])
    assert len(begins) > 5


def test_weights_hold_within_a_tenth_after_some_hundred_requests() -> None:
    random.seed(18)
    found = ring("random", entry(1, weight=1), entry(2, weight=2), entry(3, weight=5))
    counted = Counter(picks(found, 800))
    assert all(
        abs(counted[number] - weight * 100) <= weight * 10
        for number, weight in ((1, 1), (2, 2), (3, 5))
    )
