"""Tokens that end, in real processes: one renewal for all, nothing stuck after `kill -9`, one
stream per account.

With Postgres four processes serve; SQLite is for one.
"""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest
from django.conf import settings

from providers.tests.kimi_site import Site, framed, frames, jwt, web_events
from proxysite.testing import wait_until_true
from proxysite.testing.upstream import Gate, send_refusal, send_reply, send_stream
from proxysite.tests.houses.house_workers import list_workers

CHAT = "/v1/chat/completions"
SINGLE = settings.EMBEDDED_DATABASE
PROVIDE = """
from providers.models import ChatModel, Provider
from tokens.imports import token_import as importing
provider = Provider.objects.create(name="web", kind={kind!r}, base_url={url!r}, allow_private=True)
ChatModel.objects.create(provider=provider, public_id="w", upstream_name="w")
assert importing.import_lines(provider, [{line!r}]).verdict_counts == {{"new": 1}}
"""

ORDER = """
from providers.models import Provider
from tokens.tasks import refresh_pool
refresh_pool.delay(Provider.objects.get(name="web").pk)
"""


class K2Think:
    """The site's sign-in and its answers; each session is another one."""

    def __init__(self):
        self.signed_in, self.good = [], set()
        self.gate = None

    async def __call__(self, exchange):
        request = exchange.request
        if request.path.endswith("/auths/signin"):
            self.signed_in.append(request.json)
            if self.gate is not None:
                await self.gate.wait_until_open()
            session = jwt(kind="session", jti=len(self.signed_in), app_id="k2think")
            self.good.add(session)
            return await send_reply({"token": session})(exchange)
        if request.bearer_token not in self.good:
            return await send_refusal(401)(exchange)
        return await send_stream({"choices": [{"delta": {"content": "Hello"}}]}, "[DONE]")(exchange)


@contextmanager
def stopped(pid):
    """Within it the process does not run."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def celery_worker(house):
    """A real `celery worker` beside the house's database and queue; it is killed at the end."""
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "proxysite",
        "worker",
        "--pool",
        "solo",
        "--loglevel",
        "WARNING",
    ]
    with (house.home / "celery.log").open("ab") as log:
        worker = subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=house.environment, stdout=log, stderr=log
        )
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


async def provided(house, upstream, kind, line):
    """A provider of this kind with the model `w` and this one token or account."""
    await asyncio.to_thread(
        house.run_manage_command,
        "shell",
        "-c",
        PROVIDE.format(kind=kind, url=upstream.url, line=line),
    )


async def furnished(house, upstream, kind, line, processes, **environment):
    """The house serves the model `w` of a provider of this kind with this one token or account."""
    house.environment |= environment
    await provided(house, upstream, kind, line)
    many = () if SINGLE or processes == 1 else ("--workers", str(processes))
    await asyncio.to_thread(house.start, *many)
    if many:
        await wait_until_true(lambda: len(list_workers(house)) == processes)


def asked(key, **body):
    data = {"model": "w", "messages": [{"role": "user", "content": "Hi"}]} | body
    return {"json": data, "headers": {"authorization": f"Bearer {key}"}}


async def status(house, key):
    """Of one request on a connection of its own, so that any process may take it."""
    async with httpx.AsyncClient(base_url=house.url, trust_env=False, timeout=30) as http:
        return (await http.post(CHAT, **asked(key))).status_code


def token(house, columns):
    query = (
        f"SELECT {columns} FROM tokens_upstreamtoken t JOIN providers_provider p ON p.id = "
        "t.provider_id"
    )
    (row,) = house.run_sql(f"{query} WHERE p.name = 'web'")
    return row


async def test_64_requests_to_all_processes_sign_in_once(own_house, house_key, house_upstream):
    site = K2Think()
    house_upstream.set_default_script(site)
    await furnished(own_house, house_upstream, "k2think_web", "june@example.org:a password", 4)
    site.gate = Gate()
    asking = [asyncio.create_task(status(own_house, house_key)) for _ in range(64)]
    await site.gate.wait_until_reached()
    site.gate.open()
    assert {await one for one in asking} == {200}
    assert site.signed_in == [{"email": "june@example.org", "password": "a password"}]
    assert not list((own_house.home / "renewals").iterdir())
    assert await asyncio.to_thread(own_house.end_process) == 0
    assert "a password" not in own_house.output
    assert "Traceback" not in own_house.output


async def test_a_house_killed_while_it_renews_renews_when_it_is_back(
    own_house, house_key, house_upstream
):
    site = K2Think()
    house_upstream.set_default_script(site)
    line = "june@example.org:a password"
    await furnished(own_house, house_upstream, "k2think_web", line, 1, RENEW_LEASE_SECONDS="2")
    site.gate = Gate()
    asking = asyncio.create_task(status(own_house, house_key))
    await site.gate.wait_until_reached()
    await asyncio.to_thread(own_house.kill_process)
    await asyncio.gather(asking, return_exceptions=True)
    assert token(own_house, "t.sealed") == ("",)
    assert token(own_house, "t.renewing_until") != (None,)
    site.gate = None
    await asyncio.to_thread(own_house.start)
    assert await status(own_house, house_key) == 200
    assert token(own_house, "t.state, t.strikes, t.renewing_until") == ("active", 0, None)


async def test_a_worker_killed_while_it_renews_a_pool_leaves_nothing_stuck(
    own_house, house_upstream
):
    site = K2Think()
    house_upstream.set_default_script(site)
    site.gate = Gate()
    own_house.environment["RENEW_LEASE_SECONDS"] = "2"
    await provided(own_house, house_upstream, "k2think_web", "june@example.org:a password")
    await asyncio.to_thread(
        own_house.run_manage_command, "shell", "-c", ORDER * 2
    )  # what is sent twice is done once
    with celery_worker(own_house):
        await site.gate.wait_until_reached()
    assert token(own_house, "t.state, t.sealed") == ("active", "")
    assert own_house.run_sql("SELECT runs FROM tokens_refresh WHERE running_until IS NOT NULL") == [
        (0,)
    ]
    site.gate = None
    own_house.run_sql(
        "UPDATE tokens_refresh SET running_until = '2020-01-01', began_at = '2020-01-01'"
    )  # time passes
    with celery_worker(own_house):
        await asyncio.to_thread(own_house.run_manage_command, "shell", "-c", ORDER)
        await wait_until_true(
            lambda: own_house.run_sql("SELECT runs, renewed FROM tokens_refresh") == [(1, 1)], 20
        )
    assert token(own_house, "t.state, t.strikes, t.renewing_until") == ("active", 0, None)
    assert len(site.signed_in) == 2


@pytest.mark.skipif(SINGLE, reason="SQLite is for one process")
async def test_an_account_has_one_stream_over_all_processes(own_house, house_key, house_upstream):
    gate, events = Gate(), [framed(event) for event in web_events("Hello", " there")]
    site = Site("kimi_web", frames(*events[:5], gate, *events[5:], framed({}, 2)))
    house_upstream.set_default_script(site)
    refresh_token = site.refresh_token
    await furnished(
        own_house, house_upstream, "kimi_web", refresh_token, 2, CLAIM_WAIT_SECONDS="0.6"
    )
    first, second = list_workers(own_house)
    async with httpx.AsyncClient(base_url=own_house.url, trust_env=False, timeout=30) as http:
        with stopped(second):
            streaming = http.stream("POST", CHAT, **asked(house_key, stream=True))
            answer = await streaming.__aenter__()
            pieces = answer.aiter_text()
            said = await anext(pieces)
            await gate.wait_until_reached()
            assert await status(own_house, house_key) == 429
        with stopped(first):
            assert await status(own_house, house_key) == 429
        assert len(site.questions) == 1
        gate.open()
        said += "".join([piece async for piece in pieces])
        assert "Hello" in said
        assert "[DONE]" in said
        await streaming.__aexit__(None, None, None)
    await wait_until_true(lambda: token(own_house, "t.busy_until") == (None,))

    async def answers():  # it looks at what others had only now and then
        return await status(own_house, house_key) == 200

    with stopped(first):
        await wait_until_true(answers)
    assert site.renewals == 1


@pytest.mark.skipif(SINGLE, reason="SQLite is for one process")
async def test_the_stream_of_a_killed_process_is_free_when_its_lease_ends(
    own_house, house_key, house_upstream
):
    gate, events = Gate(), [framed(event) for event in web_events("Hello", " there")]
    site = Site("kimi_web", frames(*events[:5], gate))
    house_upstream.set_default_script(site)
    line = site.refresh_token
    await furnished(
        own_house, house_upstream, "kimi_web", line, 2, CLAIM_SECONDS="3", CLAIM_WAIT_SECONDS="20"
    )
    first, second = list_workers(own_house)
    with stopped(second):
        asking = asyncio.create_task(status(own_house, house_key))
        await gate.wait_until_reached()
    os.kill(first, signal.SIGKILL)
    await asyncio.gather(asking, return_exceptions=True)
    assert token(own_house, "t.busy_until") != (None,)
    assert await status(own_house, house_key) == 200
