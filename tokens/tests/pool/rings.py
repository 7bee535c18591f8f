"""Rings of tokens with the numbers 1, 2, 3 …"""

from uuid import UUID

from tokens.pool.pooled_token import PooledToken
from tokens.pool.rotation import TokenRing

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
