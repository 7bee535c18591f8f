"""Scripts of somebody else's language or environment, which a test drives: one process a case.

A script gets the case's name as its argument and the case's arguments as one line of JSON on its
standard input; it prints one line of JSON with what a program would have seen, and ends when its
standard input does.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from proxysite.tests.processes import PATIENCE_SECONDS


class Cases:
    """The script that `command` runs in `folder`, with this environment."""

    def __init__(self, command: Sequence[str | Path], folder: Path, env: dict[str, str]) -> None:
        self._command, self._folder, self._env = [str(part) for part in command], folder, env

    @asynccontextmanager
    async def running(self, case: str, *arguments: Any, **env: str) -> AsyncIterator[Any]:
        """What the case saw, while its process is still there."""
        process = await asyncio.create_subprocess_exec(
            *(*self._command, case),
            cwd=self._folder,
            env=self._env | env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            process.stdin.write(json.dumps(arguments).encode() + b"\n")
            async with asyncio.timeout(PATIENCE_SECONDS):
                line = await process.stdout.readline()
                assert line, (await process.stderr.read()).decode()
            yield json.loads(line)
            process.stdin.close()
            async with asyncio.timeout(PATIENCE_SECONDS):
                said, complaints = await process.communicate()
            assert (process.returncode, said, complaints) == (0, b"", b"")
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def __call__(self, case: str, *arguments: Any, **env: str) -> Any:
        """What the case saw."""
        async with self.running(case, *arguments, **env) as seen:
            return seen
