"""LangChain and Pydantic AI, unmodified and in an environment of their own, against a real process
of ours with a scripted upstream behind it. The scripts in `pip/` do what a program would do, and
print what they saw.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxysite.testing import speech
from proxysite.testing.house import House
from proxysite.testing.upstream import DONE, Script, send_reply, send_stream
from proxysite.testing.upstream_server import Upstream
from proxysite.tests.cases import Cases
from proxysite.tests.processes import HERE, pip_programs, surroundings

SCRIPTS = HERE / "pip"


@pytest.fixture
def run_script(house: House, house_key: str, house_upstream: Upstream, tmp_path: Path) -> Any:
    """A function that returns the cases of a script in `pip/`."""
    env = surroundings(BASE_URL=f"{house.url}/v1", API_KEY=house_key, HOME=str(tmp_path))
    env["LANGSMITH_TRACING"] = "false"

    def prepare(script: str) -> Cases:
        return Cases((pip_programs("python-clients") / "python", script), SCRIPTS, env)

    return prepare


@pytest.fixture
def langchain(run_script: Callable[[str], Cases]) -> Cases:
    return run_script("langchain_client.py")


@pytest.fixture
def pydantic_ai(run_script: Callable[[str], Cases]) -> Cases:
    return run_script("pydantic_ai_client.py")


def say(*texts: str, streams: bool = False) -> list[Script]:
    """Return one script for each text, which is the whole answer."""
    if streams:
        return [send_stream(*speech.streamed_completion(text), DONE) for text in texts]
    return [send_reply(speech.chat_completion(text)) for text in texts]


def call(function_name: str, *, streams: bool = False, **arguments: object) -> Script:
    """Return the script of an upstream that thinks and then calls one function."""
    function = {"name": function_name, "arguments": json.dumps(arguments)}
    made = {"id": "call_1", "type": "function", "function": function}
    message: dict[str, Any] = {"role": "assistant", "reasoning_content": "Hm", "content": None}
    if not streams:
        whole = message | {"tool_calls": [made]}
        return send_reply(speech.chat_completion(None, finish="tool_calls", message=whole))
    return send_stream(
        speech.chat_chunk(message),
        speech.chat_chunk({"tool_calls": [{"index": 0, **made}]}),
        speech.chat_chunk(finish="tool_calls"),
        speech.usage_chunk(),
        DONE,
    )
