"""Picking a token costs the same however many tokens rest or were tried."""

import math
import random
from uuid import UUID

import pytest

from tokens.pool.pooled_token import FOREVER, PooledToken
from tokens.pool.rotation import TokenRing
from tokens.tests.pool.rings import entry


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
