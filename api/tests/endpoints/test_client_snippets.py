"""The snippets of the portal are run as a person pastes them."""

import asyncio
import os
import sys

import pytest

from api.portal.guides.client_guides import Connection, list_snippets


async def run_program(*command: str, stdin: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    output, errors = await process.communicate(stdin.encode())
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.parametrize(
    ("slug", "command"), [("curl", ("sh", "-s")), ("python", (sys.executable, "-"))]
)
async def test_a_pasted_snippet_gets_an_answer(gateway, alice, upstream, slug, command):
    snippets = list_snippets(Connection(gateway.url, alice.key, "m"))
    (text,) = [snippet.text for snippet in snippets if snippet.slug == slug]
    output = await run_program(*command, stdin=text)
    assert output.strip()
    assert '"error"' not in output
    assert upstream.requests[-1].json["messages"] == [{"role": "user", "content": "Hello"}]
