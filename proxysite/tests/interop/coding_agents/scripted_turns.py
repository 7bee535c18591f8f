"""Turns of a coding agent: the upstream asks for one call after another, and the agent, a program
of its own, makes them.
"""

import asyncio
import json
import os
import signal
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from proxysite.testing import anthropic_speech, speech
from proxysite.testing.upstream import DONE, send_stream
from proxysite.testing.upstream_server import Upstream
from proxysite.tests.processes import PATIENCE_SECONDS, surroundings

Step = tuple[str, dict[str, Any]]  # name and arguments of a call
# a program that wants to call home finds a proxy that is not there
NO_WAY_OUT = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
}


def stream_call(number: int, name: str, arguments: dict[str, Any]) -> Any:
    """The script of an upstream that calls one function, with the arguments in pieces."""
    text = json.dumps(arguments)
    function = {"name": name, "arguments": ""}
    head = {"index": 0, "id": f"call_{number}", "type": "function", "function": function}
    pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
    deltas = [{"index": 0, "function": {"arguments": piece}} for piece in pieces]
    return send_stream(
        *(speech.chat_chunk({"tool_calls": [delta]}) for delta in (head, *deltas)),
        speech.chat_chunk(finish="tool_calls"),
        speech.usage_chunk(),
        DONE,
    )


def queue_steps(upstream: Upstream, *steps: Step) -> None:
    """Let the upstream ask for these calls, one per request, and then say that all is done."""
    calls = [stream_call(number, *step) for number, step in enumerate(steps)]
    upstream.queue_scripts(*calls, send_stream(*speech.streamed_completion("All done."), DONE))


def queue_messages(upstream: Upstream, *steps: Step) -> None:
    """Let an upstream of Anthropic's dialect ask for these calls, and then say that all is done.

    It thinks before each call, and signs what it thought.
    """
    for number, (name, arguments) in enumerate(steps):
        thought = anthropic_speech.thinking_block(f"Step {number}.", f"signed-{number}==")
        call = anthropic_speech.tool_block(name, f"toolu_{number}", **arguments)
        upstream.queue_scripts(anthropic_speech.answer_message(thought, call, stop="tool_use"))
    done = anthropic_speech.text_block("All done.")
    upstream.queue_scripts(anthropic_speech.answer_message(done))


async def run_program(
    folder: Path, env: Mapping[str, str], *command: str | Path, statuses: Collection[int] = (0,)
) -> str:
    """Run a program in a folder until it ends with one of `statuses`, and return what it wrote.

    The program, and what it has started, is ended when that takes too long.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=folder,
        env=surroundings(**NO_WAY_OUT | env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            output, _ = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    text = output.decode(errors="replace")
    assert process.returncode in statuses, text
    return text


def list_outputs(upstream: Upstream) -> list[str]:
    """Return the results of calls that the last request has told the upstream."""
    messages = upstream.requests[-1].json["messages"]
    return [message["content"] for message in messages if message["role"] == "tool"]


def list_blocks(upstream: Upstream, kind: str) -> list[dict[str, Any]]:
    """Return the blocks of a type in the messages of the last request to Anthropic's upstream."""
    messages = upstream.requests[-1].json["messages"]
    lists = [message["content"] for message in messages if isinstance(message["content"], list)]
    return [block for blocks in lists for block in blocks if block["type"] == kind]
