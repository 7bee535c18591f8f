"""Fifty ordinary callers and a prober of `/readyz`, in a process of their own.

They measure how much other requests disturb them:

    with OrdinaryCallers(port, key) as callers: …  # afterwards callers.ordinary_ms and .ready_ms

Run as a program it asks until its standard input is closed, then prints the milliseconds of all
answers as JSON.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

CALLERS = 50
PAUSE_SECONDS = 0.2
PROBE_SECONDS = 0.02
PATIENCE_SECONDS = 60.0


class OrdinaryCallers:
    """Context manager that asks during its block; the times of all answers are there after it."""

    def __init__(self, port: int, key: str) -> None:
        self._arguments = [str(port), key]
        self.ordinary_ms: list[float] = []
        self.ready_ms: list[float] = []

    def __enter__(self) -> "OrdinaryCallers":
        command = [sys.executable, "-m", "benchmarks.ordinary", *self._arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has begun to ask
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        output, _ = self._process.communicate(b"")
        if error is None:
            self.ordinary_ms, self.ready_ms = json.loads(output)


def find_percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of all values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def time_answer(port: int, data: bytes) -> float:
    """Return the milliseconds until the answer is whole; PATIENCE_SECONDS unless it is a 200."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError):
        return PATIENCE_SECONDS * 1_000
    if not answer.startswith(b"HTTP/1.1 200"):
        return PATIENCE_SECONDS * 1_000
    return (time.perf_counter() - began) * 1_000


async def time_answers(
    port: int, data: bytes, pause_seconds: float, times: list[float], stop_event: asyncio.Event
) -> None:
    """Ask again and again until `stop_event` is set, and add the milliseconds to `times`."""
    while not stop_event.is_set():
        times.append(await time_answer(port, data))
        await asyncio.sleep(pause_seconds)


def build_chat_request(key: str) -> bytes:
    """Return a short chat request with its head."""
    messages = [{"role": "user", "content": "Hello!"}]
    body = json.dumps({"model": "echo", "messages": messages}).encode()
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(lines).encode() + body


async def main() -> None:
    # The sender of the hostile requests shares this core; its load must not count as a delay of
    # the gateway.
    with suppress(PermissionError):
        os.nice(-15)
    port = int(sys.argv[1])
    question = build_chat_request(sys.argv[2])
    probe = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    done = asyncio.Event()
    ordinary = list[float]()
    ready = list[float]()
    callers = [asyncio.create_task(time_answers(port, probe, PROBE_SECONDS, ready, done))]
    for number in range(CALLERS):
        callers.append(
            asyncio.create_task(time_answers(port, question, PAUSE_SECONDS, ordinary, done))
        )
        await asyncio.sleep(PAUSE_SECONDS / CALLERS * (number < CALLERS - 1))
    print("asks", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    done.set()
    await asyncio.gather(*callers)
    print(json.dumps([ordinary, ready]))


if __name__ == "__main__":
    asyncio.run(main())
