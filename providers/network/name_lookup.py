"""Look up the addresses of upstreams' hosts; a slow name server for one host delays no other host.

Look-ups run in daemon threads of their own: a thread that hangs delays neither other hosts nor the
end of the process. At most two run for one host; everybody else who asks for that host waits for
their result. Addresses are kept for DNS_KEEP_SECONDS, failures for DNS_FAILED_SECONDS. While a new
look-up fails or takes long, addresses are used until they are DNS_STALE_SECONDS old.
`address_guard.py` decides which addresses may be connected to.
"""

import asyncio
import logging
import socket
import threading
import time
from concurrent.futures import Future
from ipaddress import ip_address
from typing import NoReturn

from django.conf import settings
from msgspec import Struct, field

from providers.exceptions import Unreachable

logger = logging.getLogger(__name__)

MAX_HOSTS = 1_024
LOOKUPS_PER_HOST = 2  # look-ups at the same time
# a look-up that takes this long may be stuck: the next request starts another one
SECOND_LOOKUP_SECONDS = 2.0
STALE_WAIT_SECONDS = 0.5  # after that a look-up is not waited for if addresses are known
DOUBT_SECONDS = 1.0  # younger addresses are not looked up again
NOT_FOUND_TEXT = "The upstream's host name does not resolve."


class HostState(Struct, eq=False):
    """The state of one host's look-ups. Times are of `time.monotonic`."""

    addresses: list[str] = []
    found_at: float = float("-inf")
    failed_at: float = float("-inf")
    is_doubtful: bool = False  # no address accepted a connection
    started_at: float = float("-inf")  # the start of the newest look-up
    running_lookups: int = 0  # the number that are running
    result: Future[list[str]] = field(default_factory=Future)  # of the running look-ups

    def list_usable_addresses(self, now: float) -> list[str]:
        """Return the known addresses; none when they are too old to be used."""
        if now - self.found_at >= settings.DNS_STALE_SECONDS:
            return []
        return self.addresses

    def is_settled(self, now: float) -> bool:
        """Return whether the known result or failure is recent enough to need no look-up."""
        is_fresh = now - self.found_at < settings.DNS_KEEP_SECONDS and not self.is_doubtful
        return is_fresh or now - self.failed_at < settings.DNS_FAILED_SECONDS

    def wants_lookup(self, now: float) -> bool:
        """Return whether no look-up of this host runs, or only one that seems to be stuck."""
        is_stuck = now - self.started_at > SECOND_LOOKUP_SECONDS
        return not self.running_lookups or (self.running_lookups < LOOKUPS_PER_HOST and is_stuck)


class Resolver:
    """The addresses of all hosts that this process has looked up.

    It is safe for threads and for several event loops.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, HostState] = {}
        self._running_lookups = 0
        self._lock = threading.Lock()

    async def find_addresses(self, name: str) -> list[str]:
        """Return the addresses of a host, which may be an address itself.

        Waits as long as a look-up takes; the caller sets the limit. Raises Unreachable.
        """
        if is_address(name):
            return [name]
        with self._lock:
            host = self._hosts.get(name) or self._add_host(name)
            now = time.monotonic()
            addresses = host.list_usable_addresses(now)
            if host.is_settled(now):
                return addresses or raise_not_found()
            try:
                self._start_lookup(name, host, now)
            except Unreachable:
                if not addresses:
                    raise
                return addresses
            result = host.result
            started_at = host.started_at
        wait_seconds = None
        if addresses:
            wait_seconds = max(0.0, started_at + STALE_WAIT_SECONDS - now)
        return await wait_for_result(result, wait_seconds) or addresses or raise_not_found()

    def mark_addresses_doubtful(self, name: str) -> None:
        """Have a host looked up again early: none of its addresses accepted a connection."""
        with self._lock:
            host = self._hosts.get(name)
            if host is not None and time.monotonic() - host.found_at > DOUBT_SECONDS:
                host.is_doubtful = True

    def _add_host(self, name: str) -> HostState:
        """Add an entry for a host; when there are too many, drop the one that was added first."""
        if len(self._hosts) >= MAX_HOSTS:
            self._hosts.pop(next(iter(self._hosts)))
        host = self._hosts[name] = HostState()
        return host

    def _start_lookup(self, name: str, host: HostState, now: float) -> None:
        """Start a look-up in a thread if one is wanted.

        Raises Unreachable when too many look-ups are running or no thread can be started.
        """
        if not host.wants_lookup(now):
            return
        if self._running_lookups >= settings.DNS_LOOKUPS:
            raise Unreachable("Too many look-ups of host names are waiting for their name servers.")
        if host.result.done() or not host.running_lookups:
            host.result = Future()
            host.result.set_running_or_notify_cancel()  # a caller that leaves cannot cancel it
        work = (name, host, host.result, now)
        thread = threading.Thread(target=self._look_up, args=work, name="name look-up", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise Unreachable("There is no thread for a look-up of the host name.") from error
        self._running_lookups += 1
        host.running_lookups += 1
        host.started_at = now

    def _look_up(
        self, name: str, host: HostState, result: Future[list[str]], started_at: float
    ) -> None:
        """Ask the system and record the answer; the first of two look-ups to answer counts."""
        addresses: list[str] = []
        try:
            entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except (OSError, UnicodeError) as error:
            logger.warning("looking up the host name %s failed: %s", name, error)
        finally:
            with self._lock:
                self._running_lookups -= 1
                host.running_lookups -= 1
                record_lookup_result(host, addresses, started_at)
                if not result.done():
                    result.set_result(addresses)


def record_lookup_result(host: HostState, addresses: list[str], started_at: float) -> None:
    """Write a look-up's result into `host`.

    A failure counts unless another look-up has found addresses meanwhile.
    """
    now = time.monotonic()
    if addresses:
        host.addresses = addresses
        host.found_at = now
        host.failed_at = float("-inf")
        host.is_doubtful = False
    elif host.found_at < started_at:
        host.failed_at = now


async def wait_for_result(result: Future[list[str]], seconds: float | None) -> list[str]:
    """Return the result of a running look-up.

    Returns an empty list when it fails or takes longer than `seconds`.
    """
    waiting = asyncio.wrap_future(result)
    try:
        await asyncio.wait([waiting], timeout=seconds)
        if not waiting.done():
            return []
        return waiting.result()
    finally:
        waiting.cancel()  # the event loop may be closed when the result comes


def raise_not_found() -> NoReturn:
    """Raise the error for a name without addresses."""
    raise Unreachable(NOT_FOUND_TEXT)


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


resolver = Resolver()
