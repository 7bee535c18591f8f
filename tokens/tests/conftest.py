"""A pool of three tokens and its clock, for tests of the pool and of outcomes."""

import pytest

from tokens.pool.pool import Pool
from tokens.tests.pool_cast import Clock, freeze_clock, make_rows, make_token


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return freeze_clock(monkeypatch)


@pytest.fixture
async def pool(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Pool:
    found = Pool()
    monkeypatch.setattr(found, "shuffle_rotations", lambda: None)  # the tests count on the order
    await found.apply_rows(make_rows(*(make_token(number) for number in (1, 2, 3))))
    return found
