"""Run one case of a script: `python SCRIPT.py CASE` reads its arguments as one JSON array from
standard input, prints one line of JSON with what a program would have seen, and ends when standard
input does.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any


async def run_case(cases: Mapping[str, Callable[..., Awaitable[Any]]]) -> None:
    arguments = json.loads(await asyncio.to_thread(sys.stdin.readline))
    seen = await cases[sys.argv[1]](*arguments)
    sys.stdout.write(json.dumps(seen) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
