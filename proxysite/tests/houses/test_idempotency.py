"""`Idempotency-Key` over processes: a killed one holds no key for ever, and all know one answer."""

import asyncio
import time

import httpx
import pytest
from django.conf import settings

from proxysite.testing.house import make_house
from proxysite.testing.upstream import answer_honestly, keep_silent

CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
LEASE_SECONDS = "2"


@pytest.fixture
def leased_house(_furnished, tmp_path):
    """A house with a short lease, not started yet."""
    with make_house(
        tmp_path / "home", template=_furnished[0], IDEMPOTENCY_LEASE_SECONDS=LEASE_SECONDS
    ) as found:
        yield found


def client(found, key):
    headers = {"authorization": f"Bearer {key}", "idempotency-key": "k-1"}
    return httpx.AsyncClient(base_url=found.url, trust_env=False, timeout=30, headers=headers)


async def test_after_a_kill_the_key_is_held_until_its_lease_ends_and_then_runs_anew(
    leased_house, house_upstream, house_key
):
    house_upstream.queue_scripts(keep_silent)
    await asyncio.to_thread(leased_house.start)
    async with client(leased_house, house_key) as http:
        asking = asyncio.create_task(http.post(CHAT, json=BODY))
        await house_upstream.wait_for_request()
        leased_house.kill_process()
        assert isinstance(
            (await asyncio.gather(asking, return_exceptions=True))[0], httpx.TransportError
        )
    await asyncio.to_thread(leased_house.start)
    async with client(leased_house, house_key) as http:
        statuses = []
        until = time.monotonic() + 20
        while time.monotonic() < until:
            answer = await http.post(CHAT, json=BODY)
            statuses.append(answer.status_code)
            if answer.status_code == 200:
                break
            assert answer.json()["error"]["code"] == "idempotency_in_flight"
            await asyncio.sleep(0.1)
        assert statuses[-1] == 200
        again = await http.post(CHAT, json=BODY)
        assert (again.content, again.headers["idempotent-replayed"]) == (answer.content, "true")
    assert len(house_upstream.requests) == 2
    rows = {row[0] for row in leased_house.run_sql("SELECT status FROM api_usagerecord")}
    assert rows == {"interrupted", "complete"}


@pytest.mark.skipif(settings.EMBEDDED_DATABASE, reason="several processes need Postgres")
async def test_two_processes_ask_once_and_know_one_answer(leased_house, house_upstream, house_key):
    house_upstream.set_default_script(answer_honestly("Hello!"))
    await asyncio.to_thread(leased_house.start, "--workers", "2")

    async def ask():
        async with client(
            leased_house, house_key
        ) as http:  # a connection of its own: any process may take it
            while (answer := await http.post(CHAT, json=BODY)).status_code == 409:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return answer

    answers = await asyncio.gather(*(ask() for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(house_upstream.requests) == 1
