import math
import random
from collections import Counter
from itertools import pairwise
from uuid import UUID

import pytest

from tokens.pool.pooled_token import FOREVER, PooledToken, find_pool_state
from tokens.pool.rotation import TRIAL_SECONDS, TokenRing

ROTATIONS = ["round_robin", "least_used", "random", "priority"]


def entry(number: int, **fields: object) -> PooledToken:
    return PooledToken(UUID(int=number), 1, "sealed", **fields)  # type: ignore[arg-type]


def ring(rotation: str, *entries: PooledToken, now: float = 100.0) -> TokenRing:
    found = TokenRing(rotation)
    for one in entries:
        found.place_entry(one, now)
    return found


def picks(of: TokenRing, count: int, now: float = 100.0) -> list[int]:
    return [picked.id.int for _ in range(count) if (picked := of.pick_token(now)) is not None]


# --- the order of each rotation -------------------------------------------------------------------
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


# --- resting, waking, leaving ---------------------------------------------------------------------
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
    assert found.pick_token(100.0, {UUID(int=0), UUID(int=1)}).id.int == 2  # type: ignore[union-attr]
    assert picks(found, 4) == [0, 1, 3, 2]


# --- work -----------------------------------------------------------------------------------------
class Counted(float):
    """A number that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        Counted.compared += 1
        return float.__lt__(self, other)

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return float.__eq__(self, other)

    __hash__ = float.__hash__


class CountedRing(TokenRing):
    """A ring whose keys count their comparisons."""

    def _round_robin(self, entry: PooledToken, now: float) -> tuple[float, float]:
        return Counted(super()._round_robin(entry, now)[0]), 0

    def _least_used(self, entry: PooledToken, now: float) -> tuple[float, float]:
        return Counted(entry.use_count), 0

    def _random(self, entry: PooledToken, now: float) -> tuple[float, float]:
        return Counted(super()._random(entry, now)[0]), 0


def work_per_pick(rotation: str, tokens: int, resting: int, tried: int = 0) -> float:
    found = CountedRing(rotation)
    for number in range(tokens):
        found.place_entry(entry(number), 100.0)
    for number in range(tokens, tokens + resting):
        found.place_entry(entry(number, rests_until=Counted(10_000.0 + number)), 100.0)
    passed = {UUID(int=number) for number in range(tried)}
    Counted.compared = 0
    for _ in range(200):
        assert found.pick_token(100.0, passed) is not None
        found.find_wait_seconds(100.0)
    return Counted.compared / 200


@pytest.mark.parametrize(
    ("rotation", "tokens"), [("round_robin", 100_000), ("least_used", 20_000), ("random", 20_000)]
)
def test_picking_among_thousands_compares_a_few_more_times_than_among_ten(
    rotation: str, tokens: int
) -> None:
    random.seed(16)
    few, many = work_per_pick(rotation, 10, 0), work_per_pick(rotation, tokens, 0)
    assert many < few + 4 * math.log2(tokens)


def test_however_many_rest_picking_costs_the_same() -> None:
    assert work_per_pick("round_robin", 10, 30_000) <= work_per_pick("round_robin", 10, 0) + 1


def test_tokens_that_were_tried_cost_only_themselves() -> None:
    assert work_per_pick("round_robin", 20_000, 0, tried=3) < 5 * 4 * math.log2(20_000)


def test_an_entry_shows_no_secret() -> None:
    shown = repr(PooledToken(UUID(int=1), 1, "v1.sealed", secret="sk-made-up"))
    assert "sk-made-up" not in shown
    assert "v1.sealed" not in shown
    assert entry(1).valid_until == FOREVER


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
