"""The parts of which `conftest.py` makes the fixtures.

There are a scriptable upstream, a running gateway, rows, faults of the database and a real `serve`
process.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

# how long a test waits for something that must happen; it measures nothing
PATIENCE_SECONDS = 10.0


async def wait_until_true(
    condition: Callable[[], object | Awaitable[object]], seconds: float = PATIENCE_SECONDS
) -> Any:
    """Ask until the answer is true, and return it.

    Raises AssertionError when that takes longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s"
        await asyncio.sleep(0.01)
