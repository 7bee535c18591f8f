"""Limits over several processes, on Postgres alone and with Redis: exact, and free after a kill."""

import asyncio
import os
import signal
from collections import Counter
from functools import cache, partial
from pathlib import Path

import httpx
import pytest
from django.conf import settings

from proxysite.testing import speech, wait_until_true
from proxysite.testing.house import make_house
from proxysite.testing.upstream import Gate, send_reply
from proxysite.tests.houses.house_workers import list_workers, open_client, run_only, start_workers
from proxysite.tests.houses.limited_keys import (
    COST_MICRO_USD,
    USAGE,
    create_limited_key,
    set_price,
)

pytestmark = pytest.mark.skipif(settings.EMBEDDED_DATABASE, reason="SQLite is for one process")
WORKERS = 3


@cache
def find_faketime() -> str:
    """Return the path of libfaketime, or an empty text where it is not installed."""
    paths = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return str(paths[0]) if paths else ""


@pytest.fixture(params=["postgres", "redis"])
async def trio(request, _furnished, tmp_path):
    """A house that serves with three processes, whose leases are short."""
    if request.param == "redis" and not settings.REDIS_URL:
        pytest.skip("no Redis is configured")
    services = {"REDIS_URL": settings.REDIS_URL if request.param == "redis" else ""}
    services |= {"LIMIT_LEASE_SECONDS": "2"}
    with make_house(tmp_path / "home", template=_furnished[0], **services) as house:
        await asyncio.to_thread(set_price, house)
        await start_workers(house, WORKERS)
        yield house


async def ask(http, key):
    """Send one request; return `200`, or the code of the error."""
    body = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"authorization": f"Bearer {key}"}
    answer = await http.post("/v1/chat/completions", json=body, headers=headers)
    return "200" if answer.status_code == 200 else answer.json()["error"]["code"]


async def ask_at_once(house, key, count):
    """Send requests at the same time, each on a connection of its own; return codes by number."""
    limits = httpx.Limits(max_keepalive_connections=0, max_connections=None)
    async with httpx.AsyncClient(
        base_url=house.url, trust_env=False, timeout=60, limits=limits
    ) as http:
        return Counter(await asyncio.gather(*(ask(http, key) for _ in range(count))))


async def read_limits(house, key):
    async with open_client(house) as http:
        answer = await http.get("/v1/key", headers={"authorization": f"Bearer {key}"})
        return {limit["limit"]: limit for limit in answer.json()["limits"]}


class CountedUpstream:
    """A script whose requests wait at one gate, and are counted while they run."""

    def __init__(self):
        self.gate = Gate()
        self.running = 0
        self.peak = 0
        self.reply = send_reply(speech.chat_completion(usage=USAGE))

    async def __call__(self, exchange):
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await self.gate.wait_until_open()
            await self.reply(exchange)
        finally:
            self.running -= 1


async def test_exactly_so_many_requests_run_as_may_run(trio, house_upstream):
    key = await asyncio.to_thread(create_limited_key, trio, concurrent_requests=4)
    upstream = CountedUpstream()
    house_upstream.set_default_script(upstream)
    asking = asyncio.create_task(ask_at_once(trio, key, 40))
    await wait_until_true(lambda: upstream.running == 4)
    beside = await ask_at_once(trio, key, 12)
    assert beside == {"rate_limit_exceeded": 12}
    upstream.gate.open()
    codes = await asking
    assert upstream.peak == 4
    assert codes["200"] + codes["rate_limit_exceeded"] == 40
    assert codes["200"] >= 4


async def test_a_budget_is_spent_and_overspent_by_one_request_of_each_process_at_most(
    trio, house_upstream
):
    house_upstream.set_default_script(send_reply(speech.chat_completion(usage=USAGE)))
    key = await asyncio.to_thread(create_limited_key, trio, total_budget_usd=1)
    codes = await ask_at_once(trio, key, 60 * WORKERS)
    [(spent,)] = trio.run_sql(
        "SELECT sum(cost_micro_usd)::bigint FROM api_usagerecord WHERE status = 'complete'"
    )
    assert set(codes) == {"200", "insufficient_quota"}
    assert 1_000_000 <= spent <= 1_000_000 + WORKERS * COST_MICRO_USD


async def test_what_a_killed_process_reserved_is_free_when_its_lease_ends(trio, house_upstream):
    key = await asyncio.to_thread(
        create_limited_key, trio, concurrent_requests=5, total_budget_usd=1
    )
    upstream = CountedUpstream()
    house_upstream.set_default_script(upstream)
    killed = list_workers(trio)[0]
    with run_only(trio, killed):
        asking = [asyncio.create_task(ask_at_once(trio, key, 1)) for _ in range(5)]
        await wait_until_true(lambda: upstream.running == 5)
    assert (await read_limits(trio, key))["concurrent_requests"]["left"] == 0
    os.kill(killed, signal.SIGKILL)
    await asyncio.gather(*asking, return_exceptions=True)

    async def is_all_free():
        limits = await read_limits(trio, key)
        budget = limits["total_budget_usd"]
        return limits["concurrent_requests"]["left"] == 5 and not budget["reserved"]

    await wait_until_true(is_all_free)
    upstream.gate.open()
    assert await ask_at_once(trio, key, 1) == {"200": 1}


@pytest.fixture
async def clock_house(_furnished, tmp_path):
    """A house whose clock differs from others as the file `clock` beside its home says."""
    if not find_faketime():
        pytest.skip("libfaketime is not installed")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": find_faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with make_house(tmp_path / "home", template=_furnished[0], **environment) as house:
        faked = house.environment
        house.environment = {name: faked[name] for name in faked if name not in environment}
        await asyncio.to_thread(set_price, house)
        house.starts_cold = True
        house.environment, plain = faked, house.environment
        await asyncio.to_thread(house.start)
        house.environment = plain
        yield house


async def test_steps_of_the_clock_change_nothing(clock_house, house_upstream):
    """The requests of a minute are used up while the clock goes forward and back."""
    house = clock_house
    clock = house.home.with_name("clock")
    house_upstream.set_default_script(send_reply(speech.chat_completion(usage=USAGE)))
    limits = {"requests_per_minute": 4, "concurrent_requests": 2, "total_budget_usd": 1}
    key = await asyncio.to_thread(create_limited_key, house, **limits)
    upstream = CountedUpstream()
    house_upstream.queue_scripts(upstream)
    running = asyncio.create_task(ask_at_once(house, key, 1))
    await wait_until_true(lambda: upstream.running == 1)
    for step in ("+60", "-60", "+0"):
        before = await read_minute(house)
        clock.write_text(step)
        await wait_until_true(partial(has_other_minute, house, before))
        assert await ask_at_once(house, key, 1) == {"200": 1}
        limits = await read_limits(house, key)
        assert limits["concurrent_requests"]["left"] == 1
    assert await ask_at_once(house, key, 1) == {"rate_limit_exceeded": 1}
    upstream.gate.open()
    assert await running == {"200": 1}
    limits = await read_limits(house, key)
    assert limits["requests_per_minute"]["left"] == 0
    assert limits["concurrent_requests"]["left"] == 2

    async def is_paid():
        budget = (await read_limits(house, key))["total_budget_usd"]
        return (budget["used"], budget["reserved"]) == (0.08, 0)

    await wait_until_true(is_paid)


async def read_minute(house):
    """Return the minute of the gateway's clock, as its answers tell it."""
    async with open_client(house) as http:
        return (await http.get("/healthz")).headers["date"][:22]


async def has_other_minute(house, minute):
    return await read_minute(house) != minute
