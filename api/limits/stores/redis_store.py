"""The store of limits in Redis and Postgres, for many processes that have both.

Redis counts requests and tokens by the minute and running requests, with one script for each
exchange of a counter; a script is atomic. Money stays in Postgres, where the usage records are.
While Redis does not answer, Postgres counts everything. All times are those of Redis.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from api.limits.stores.limit_store import (
    SLICE_DIVISOR,
    SLOTS_PER_SECOND,
    WINDOW_SECONDS,
    WINDOW_SLOTS,
    Counter,
    Lease,
    LeaseRequest,
)
from api.limits.stores.postgres_store import PostgresStore, count_seconds
from providers.fast_settings import settings

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

KEY_PREFIX = "proxysite:limits:"
TIMEOUT_SECONDS = 1.0
RETRY_SECONDS = 5.0  # after which Redis is tried again

SLICE_LUA = f"""
local function find_slice(needed, free)
    if needed <= 0 or free <= 0 then return 0 end
    return math.min(free, math.max(needed, math.floor(free / {SLICE_DIVISOR})))
end
"""

# KEYS: the hash slot -> amount. ARGV: limit, needed, overused, then slots and amounts that are
# given back. Numbers are written with %.0f: Lua's own form of large ones has an exponent.
LEASE_WINDOW_LUA = f"""
{SLICE_LUA}
local time = redis.call('TIME')
local now = math.floor((tonumber(time[1]) + tonumber(time[2]) / 1000000) * {SLOTS_PER_SECOND})
local limit, needed, overused = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 4, #ARGV, 2 do
    if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
        redis.call('HINCRBY', KEYS[1], ARGV[i], string.format('%.0f', -tonumber(ARGV[i + 1])))
    end
end
local fields = redis.call('HGETALL', KEYS[1])
local used, slots, amounts = 0, {{}}, {{}}
for i = 1, #fields, 2 do
    local slot, amount = tonumber(fields[i]), tonumber(fields[i + 1])
    if slot > now - {WINDOW_SLOTS} then
        used = used + amount
        slots[#slots + 1] = slot
        amounts[slot] = amount
    else
        redis.call('HDEL', KEYS[1], fields[i])
    end
end
table.sort(slots)
local free = limit - used - overused
local granted = find_slice(needed, free)
if granted + overused > 0 then
    local amount = string.format('%.0f', granted + overused)
    redis.call('HINCRBY', KEYS[1], string.format('%.0f', now), amount)
end
redis.call('EXPIRE', KEYS[1], {2 * WINDOW_SECONDS})
local missing, until_free, until_full = needed - free, '', ''
for _, slot in ipairs(slots) do
    missing = missing - amounts[slot]
    if missing <= 0 and until_free == '' then until_free = tostring(slot - now) end
    if amounts[slot] > 0 then until_full = tostring(slot - now) end
end
return {{granted, free - granted, now, until_free, until_full}}
"""

# KEYS: the hash holder -> "amount expiry". ARGV: limit, needed, held, holder, lease in ms.
LEASE_HELD_LUA = f"""
{SLICE_LUA}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local limit, needed, held = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local fields = redis.call('HGETALL', KEYS[1])
local others = 0
for i = 1, #fields, 2 do
    local amount, expiry = string.match(fields[i + 1], '^(%d+) (%d+)$')
    if tonumber(expiry) <= now then
        redis.call('HDEL', KEYS[1], fields[i])
    elseif fields[i] ~= ARGV[4] then
        others = others + tonumber(amount)
    end
end
local free = limit - others - held
local granted = find_slice(needed, free)
if held + granted > 0 then
    local word = string.format('%.0f %.0f', held + granted, now + tonumber(ARGV[5]))
    redis.call('HSET', KEYS[1], ARGV[4], word)
    redis.call('PEXPIRE', KEYS[1], 10 * tonumber(ARGV[5]))
else
    redis.call('HDEL', KEYS[1], ARGV[4])
end
return {{granted, free - granted}}
"""


class RedisStore:
    """The store of one process: rates and running requests in Redis, money in Postgres."""

    is_shared = True

    def __init__(self, url: str, postgres: PostgresStore) -> None:
        self._url = url
        self._postgres = postgres
        self._redis: Redis | None = None
        self._scripts: tuple[Any, Any] | None = None
        self._retry_at = 0.0  # on the monotonic clock: until then Redis is left alone
        self._is_redis_away = False
        self.generation = 0

    async def exchange(self, requests: list[LeaseRequest]) -> list[Lease]:
        budgets = [request for request in requests if request.counter.is_budget]
        counted = [request for request in requests if not request.counter.is_budget]
        leases: dict[Counter, Lease] = {}
        if budgets:  # first: when that fails, nothing is counted
            leases |= await self._ask_postgres(budgets)
        if counted:
            leases |= await self._count(counted)
        return [leases[request.counter] for request in requests]

    async def _ask_postgres(self, requests: list[LeaseRequest]) -> dict[Counter, Lease]:
        answers = await self._postgres.exchange(requests)
        return {request.counter: lease for request, lease in zip(requests, answers, strict=True)}

    async def _count(self, requests: list[LeaseRequest]) -> dict[Counter, Lease]:
        """Count requests and tokens in Redis, or in Postgres while Redis does not answer."""
        from redis.exceptions import RedisError

        if time.monotonic() >= self._retry_at:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    leases = await self._run_scripts(requests)
            except (RedisError, OSError, TimeoutError) as error:
                self._retry_at = time.monotonic() + RETRY_SECONDS
                self._mark_redis(is_away=True)
                logger.warning("Redis does not answer; limits are counted in Postgres: %s", error)
            else:
                self._mark_redis(is_away=False)
                return leases
        return await self._ask_postgres(requests)

    def _mark_redis(self, *, is_away: bool) -> None:
        """Note whether Redis counts; the other store must be told what is held."""
        if is_away != self._is_redis_away:
            self._is_redis_away = is_away
            self.generation += 1

    async def _run_scripts(self, requests: list[LeaseRequest]) -> dict[Counter, Lease]:
        window_script, held_script = self._scripts or self._open_connection()
        async with self._redis.pipeline(transaction=False) as pipeline:  # type: ignore[union-attr]
            for request in requests:
                key = f"{KEY_PREFIX}{request.counter.name}"
                if request.counter.is_windowed:
                    returned = [number for pair in request.returned for number in pair]
                    values = [request.limit, request.needed, request.overused, *returned]
                    await window_script(keys=[key], args=values, client=pipeline)
                else:
                    lease_ms = int(settings.LIMIT_LEASE_SECONDS * 1000)
                    holder = self._postgres.holder
                    amounts = (request.limit, request.needed, request.held)
                    await held_script(
                        keys=[key], args=[*amounts, holder, lease_ms], client=pipeline
                    )
            answers = await pipeline.execute()
        return {
            request.counter: read_lease(request, answer)
            for request, answer in zip(requests, answers, strict=True)
        }

    def _open_connection(self) -> tuple[Any, Any]:
        from redis.asyncio import Redis

        self._redis = Redis.from_url(self._url, decode_responses=True)
        self._scripts = (
            self._redis.register_script(LEASE_WINDOW_LUA),
            self._redis.register_script(LEASE_HELD_LUA),
        )
        return self._scripts

    def record_spent(self, counter: Counter, micro_usd: int) -> None:
        """Do nothing: the database adds up what is spent."""

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()
        await self._postgres.close()


def read_lease(request: LeaseRequest, answer: list[Any]) -> Lease:
    """Return the answer of a script about one counter."""
    if not request.counter.is_windowed:
        granted, remaining = answer
        return Lease(granted, remaining)
    granted, remaining, slot, until_free, until_full = answer
    return Lease(
        granted,
        remaining,
        slot,
        0,
        count_seconds(int(until_free)) if until_free else 0.0,
        WINDOW_SECONDS if granted else count_seconds(int(until_full) if until_full else None),
    )
