"""The “Coming from …” pages as tests read them: the commands under a heading, and a shell to paste
them into.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from django.conf import settings

from proxysite.testing.forked_process import make_manage_command
from proxysite.testing.house import House

IN_FORCE_SECONDS = 10.0  # how long a test waits; it measures nothing
ANSWER_SECONDS = 60.0  # how long a test waits for a command; not how long it may take
END = re.compile(rb"\n<<(\d+)>>\n")


class Page:
    def __init__(self, name: str) -> None:
        self.text = (settings.BASE_DIR / "docs" / name).read_text(encoding="utf-8")

    def commands(self, section: str) -> list[str]:
        """The lines of the shell blocks under that heading."""
        text = self.text.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
        return [
            line
            for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
            for line in block.strip().splitlines()
        ]

    def sections(self) -> list[str]:
        return re.findall(r"^## (.+)$", self.text, re.MULTILINE)

    def tests(self) -> set[str]:
        """File names of the tests that it names."""
        return set(re.findall(r"`(?:\w+/)*(test_\w+\.py)`", self.text))

    def settings(self) -> set[str]:
        """Names of our variables in it, those in the left column left out: they are the other
        program's.
        """
        ours = [
            line.split(" | ", 1)[-1] if line.startswith("|") else line
            for line in self.text.splitlines()
        ]
        return set(re.findall(r"`([A-Z]{2,}[A-Z0-9]*_?[A-Z0-9_]*)(?:=\w+)?`", "\n".join(ours)))


def variables(command: str) -> dict[str, str]:
    """Those of a line that ends with `make serve`."""
    assert command.endswith("make serve"), command
    return dict(pair.split("=", 1) for pair in command.removesuffix("make serve").split())


class Terminal:
    """A person's shell: what one command sets the next one knows."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process, self._url = process, url

    async def paste(self, command: str) -> str:
        """What the command writes to its standard output. It must succeed."""
        line = re.sub(r"http://127\.0\.0\.1:\d+", self._url, command).replace(
            ".venv/bin/python manage.py", make_manage_command()
        )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{line}\nprintf '\\n<<%d>>\\n' $?\n".encode())
        said = b""
        async with asyncio.timeout(ANSWER_SECONDS):
            while (end := END.search(said)) is None:
                piece = await stdout.read(65_536)
                assert piece, said
                said += piece
        assert end[1] == b"0", (command, said)
        return said[: end.start()].decode()

    async def paste_in_force(self, command: str) -> str:
        """What the request writes, once what the command before it has saved is in force.

        The page's reader takes longer for it than the gateway, which has a second.
        """
        async with asyncio.timeout(IN_FORCE_SECONDS):
            while '"error"' in (answer := await self.paste(command)):
                pass
        return answer


@asynccontextmanager
async def terminal(house: House, folder: Path) -> AsyncIterator[Terminal]:
    """A shell in the folder that has the person's files, beside the gateway that runs."""
    with (folder / "errors.txt").open("wb") as errors:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", cwd=folder, env=house.environment, stdin=pipe, stdout=pipe, stderr=errors
        )
        try:
            yield Terminal(process, house.url)
        finally:
            process.kill()
            await process.wait()
