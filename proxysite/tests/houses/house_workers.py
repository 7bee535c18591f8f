"""The processes of a house that serves with several.

A stopped process takes no request, so that a test can choose who answers.
"""

import asyncio
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import httpx

from proxysite.testing import wait_until_true


def list_workers(house):
    """The process ids of those who serve, oldest first."""
    pid = house.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def run_only(house, worker):
    """Within it no other process of the house runs."""
    others = [pid for pid in list_workers(house) if pid != worker]
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


async def start_workers(house, count):
    """Start the house with so many processes, and wait until each of them answers."""
    await asyncio.to_thread(house.start, "--workers", str(count))
    await wait_until_true(lambda: len(list_workers(house)) == count)
    for worker in list_workers(house):
        with run_only(house, worker):
            await wait_until_true(lambda: is_answering(house))


async def is_answering(house):
    try:
        async with open_client(house) as http:
            return (await http.get("/healthz", timeout=1)).status_code == 200
    except httpx.TransportError:
        return False


def open_client(house):
    return httpx.AsyncClient(base_url=house.url, trust_env=False, timeout=10)
