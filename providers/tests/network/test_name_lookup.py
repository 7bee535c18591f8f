"""Looking up host names: one slow name server keeps no other host waiting, and names are not asked
for all the time.
"""

import asyncio
import socket
import subprocess
import sys
import threading

import pytest

from providers.exceptions import Unreachable
from providers.network import name_lookup
from proxysite.testing import PATIENCE_SECONDS, wait_until_true

FIRST, SECOND = "192.0.2.1", "192.0.2.2"


class NameServers:
    """Answers of `socket.getaddrinfo`: texts are addresses, None is a failure; a name in `stuck`
    waits until `over`.
    """

    def __init__(self):
        self.asked = []
        self.answers = {}
        self.stuck = set()
        self.over = threading.Event()

    def getaddrinfo(self, name, port, **options):
        self.asked.append(name)
        if name in self.stuck:
            self.over.wait()
        address = self.answers.get(name, FIRST)
        if address is None:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]


@pytest.fixture
def servers(monkeypatch):
    found = NameServers()
    monkeypatch.setattr(socket, "getaddrinfo", found.getaddrinfo)
    yield found
    found.over.set()


@pytest.fixture
def resolver():
    return name_lookup.Resolver()


async def give_up(resolver, name):
    """Ask, and leave as a request does whose time to connect is over."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await resolver.find_addresses(name)


async def test_an_address_is_no_name(resolver, servers):
    assert await resolver.find_addresses("::1") == ["::1"]
    assert await resolver.find_addresses(FIRST) == [FIRST]
    assert servers.asked == []


async def test_many_who_ask_at_once_share_one_look_up_and_what_it_found_is_kept(resolver, servers):
    found = await asyncio.gather(*(resolver.find_addresses("a.example") for _ in range(50)))
    assert found == [[FIRST]] * 50
    assert await resolver.find_addresses("a.example") == [FIRST]
    assert servers.asked == ["a.example"]


async def test_a_host_whose_name_server_is_silent_takes_two_threads_at_most(
    resolver, servers, monkeypatch
):
    monkeypatch.setattr(name_lookup, "SECOND_LOOKUP_SECONDS", 0.0)
    servers.stuck.add("slow.example")
    for _ in range(6):
        await asyncio.gather(*(give_up(resolver, "slow.example") for _ in range(10)))
    assert servers.asked == ["slow.example"] * 2
    assert await resolver.find_addresses("a.example") == [FIRST]


async def test_a_second_look_up_helps_when_the_first_one_hangs(resolver, servers, monkeypatch):
    monkeypatch.setattr(name_lookup, "SECOND_LOOKUP_SECONDS", 0.0)
    servers.stuck.add("slow.example")
    await give_up(resolver, "slow.example")
    servers.stuck.clear()
    assert await resolver.find_addresses("slow.example") == [FIRST]


async def test_a_name_that_is_not_found_is_not_asked_for_again_at_once(resolver, servers, settings):
    servers.answers["gone.example"] = None
    for _ in range(3):
        with pytest.raises(Unreachable, match="does not resolve"):
            await resolver.find_addresses("gone.example")
    assert servers.asked == ["gone.example"]
    servers.answers["gone.example"] = FIRST
    settings.DNS_FAILED_SECONDS = 0
    assert await resolver.find_addresses("gone.example") == [FIRST]


async def test_addresses_are_looked_up_again_after_their_time(resolver, servers, settings):
    await resolver.find_addresses("a.example")
    settings.DNS_KEEP_SECONDS = 0
    servers.answers["a.example"] = SECOND
    assert await resolver.find_addresses("a.example") == [SECOND]


@pytest.mark.parametrize("fault", ["fails", "hangs"])
async def test_old_addresses_are_used_while_a_new_look_up(
    resolver, servers, settings, fault, monkeypatch
):
    monkeypatch.setattr(name_lookup, "STALE_WAIT_SECONDS", 0.05)
    await resolver.find_addresses("a.example")
    settings.DNS_KEEP_SECONDS = 0
    servers.answers["a.example"] = None
    if fault == "hangs":
        servers.stuck.add("a.example")
    for _ in range(3):
        assert await resolver.find_addresses("a.example") == [FIRST]
    assert servers.asked == ["a.example"] * 2
    settings.DNS_STALE_SECONDS = 0
    with pytest.raises((Unreachable, TimeoutError)):
        async with asyncio.timeout(0.05):
            await resolver.find_addresses("a.example")


async def test_addresses_that_cannot_be_connected_to_are_looked_up_before_their_time(
    resolver, servers, monkeypatch
):
    await resolver.find_addresses("a.example")
    resolver.mark_addresses_doubtful("a.example")
    assert await resolver.find_addresses("a.example") == [FIRST]
    assert len(servers.asked) == 1, "what was found a moment ago is not doubted"
    monkeypatch.setattr(name_lookup, "DOUBT_SECONDS", 0.0)
    servers.answers["a.example"] = SECOND
    resolver.mark_addresses_doubtful("a.example")
    assert await resolver.find_addresses("a.example") == [SECOND]


async def test_look_ups_of_all_hosts_together_are_bounded(resolver, servers, settings):
    settings.DNS_LOOKUPS = 3
    servers.stuck = {f"{number}.example" for number in range(3)}
    for name in servers.stuck:
        await give_up(resolver, name)
    with pytest.raises(Unreachable, match="Too many look-ups"):
        await resolver.find_addresses("a.example")
    servers.over.set()
    await wait_until_true(lambda: not resolver._running_lookups)
    assert await resolver.find_addresses("a.example") == [FIRST]


async def test_the_hosts_that_are_known_are_bounded(resolver, servers, monkeypatch):
    monkeypatch.setattr(name_lookup, "MAX_HOSTS", 3)
    for number in range(10):
        await resolver.find_addresses(f"{number}.example")
    assert list(resolver._hosts) == ["7.example", "8.example", "9.example"]


async def test_a_name_that_no_name_server_can_be_asked_for_is_not_found(resolver):
    with pytest.raises(Unreachable, match="does not resolve"):
        await resolver.find_addresses("a" * 64 + ".example")


def test_loops_of_several_threads_share_what_was_found(resolver, servers):
    for _ in range(3):
        assert asyncio.run(resolver.find_addresses("a.example")) == [FIRST]
    assert servers.asked == ["a.example"]


HANGING = """
import asyncio, os, socket, threading
os.environ["DJANGO_SETTINGS_MODULE"] = "proxysite.settings_test"
from providers.network import name_lookup as names
socket.getaddrinfo = lambda *more, **options: threading.Event().wait()

async def ask():
    try:
        async with asyncio.timeout(0.05):
            await names.resolver.find_addresses("slow.example")
    except TimeoutError:
        print("gave up")

asyncio.run(ask())
"""


def test_a_process_ends_although_a_look_up_hangs():
    done = subprocess.run(
        [sys.executable, "-c", HANGING],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert done.stdout == "gave up\n"
    assert done.stderr == ""
