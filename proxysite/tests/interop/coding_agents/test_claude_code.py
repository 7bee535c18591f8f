"""Claude Code as it comes, against a real gateway with scripted upstreams behind it, one of chat
completions and one of Anthropic's dialect.

The upstream has it run commands and edit a file in several turns. It really does so, in a folder of
its own.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from api.portal.guides.client_guides import Connection, list_snippets
from proxysite.testing.upstream_server import Upstream
from proxysite.tests.interop.coding_agents.conftest import CLAUDE_MODEL
from proxysite.tests.interop.coding_agents.scripted_turns import (
    Step,
    list_blocks,
    list_outputs,
    queue_messages,
    queue_steps,
    run_program,
)
from proxysite.tests.processes import npm_packages

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]

TEXT = 'two "quoted" \\d é 😀'
MODEL = "unknown"


def read_environment(url: str, key: str, model: str) -> dict[str, str]:
    """Return the variables of the set-up that the portal shows."""
    snippets = list_snippets(Connection(url, key, model))
    (text,) = [snippet.text for snippet in snippets if snippet.slug == "claude-code"]
    exports = [line.removeprefix("export ") for line in text.splitlines() if "=" in line]
    pairs = (line.split("=", 1) for line in exports)
    return {name: value.strip("'") for name, value in pairs}


@pytest.fixture
def claude(gateway, key, tmp_path) -> Any:
    """A function that runs `claude -p` with these arguments, and returns its result."""
    return make_claude(gateway.url, key, tmp_path)


@pytest.fixture
def native_claude(gateway, key, tmp_path) -> Any:
    """The same with the model of the upstream that speaks Anthropic's dialect."""
    return make_claude(gateway.url, key, tmp_path, CLAUDE_MODEL)


@pytest.fixture
def wrong_claude(gateway, tmp_path) -> Any:
    """The same with a key that is none."""
    return make_claude(gateway.url, "no-key", tmp_path)


def make_claude(url: str, key: str, tmp_path: Path, model: str = MODEL) -> Any:
    package = npm_packages("npm_agents") / "node_modules" / "@anthropic-ai"
    work = tmp_path / "work"
    work.mkdir()
    env = read_environment(url, key, model) | {
        "HOME": str(tmp_path),
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "IS_SANDBOX": "1",
    }
    program = package / "claude-code" / "cli-wrapper.cjs"

    async def run(*arguments: str) -> dict[str, Any]:
        options = ("--output-format", "json", "--dangerously-skip-permissions")
        command = ("node", program, "-p", *arguments, *options)
        output = await run_program(work, env, *command, statuses=(0, 1))
        result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
        return result

    return run


def check_requests(upstream: Upstream) -> None:
    """Check that every request was one which a strict chat upstream takes."""
    for request in upstream.requests:
        body = request.json
        assert {tool["type"] for tool in body.get("tools", ())} <= {"function"}
        text = json.dumps(body["messages"])
        assert "cache_control" not in text
        assert "x-anthropic-billing-header" not in text
        assert not {"thinking", "metadata", "system", "context_management"} & body.keys()
        for message in body["messages"]:
            allowed = {"role", "content", "tool_calls", "tool_call_id", "reasoning_content"}
            assert message.keys() <= allowed


def list_steps(work: Path) -> list[Step]:
    """Return eight calls of Claude Code's tools, one of which fails."""
    target = str(work / "b.txt")
    return [
        ("Bash", {"command": "echo one > a.txt", "description": "write"}),
        ("Bash", {"command": "cat a.txt", "description": "read"}),
        ("Write", {"file_path": target, "content": "one\n"}),
        ("Read", {"file_path": target}),
        ("Edit", {"file_path": target, "old_string": "one", "new_string": TEXT}),
        ("Bash", {"command": "cat b.txt", "description": "read"}),
        ("Bash", {"command": "exit 3", "description": "fail"}),
        ("Bash", {"command": "ls", "description": "list"}),
    ]


def check_result(result: dict[str, Any], work: Path) -> None:
    """Check what Claude Code says at the end of the eight steps, and what they have left."""
    assert result["result"] == "All done."
    assert not result["is_error"]
    assert result["usage"]["output_tokens"] > 0
    assert (work / "a.txt").read_text() == "one\n"
    assert (work / "b.txt").read_text() == TEXT + "\n"


async def test_claude_code_works_in_several_turns_and_edits_files(claude, upstream, tmp_path):
    work: Path = tmp_path / "work"
    queue_steps(upstream, *list_steps(work))
    check_result(await claude("Do it."), work)
    check_requests(upstream)
    outputs = list_outputs(upstream)
    assert len(outputs) == 8
    assert "one" in outputs[1]
    assert TEXT in outputs[5]
    assert "b.txt" in outputs[7]
    heads = [request.json["messages"][0] for request in upstream.requests]
    assert heads == heads[:1] * len(heads), "prompt caches find the same beginning"


async def test_claude_code_works_with_an_upstream_of_its_own_dialect(
    native_claude, anthropic_upstream, gateway, tmp_path
):
    work: Path = tmp_path / "work"
    before = len(gateway.ledger(CLAUDE_MODEL))
    queue_messages(anthropic_upstream, *list_steps(work))
    check_result(await native_claude("Do it."), work)
    thoughts = list_blocks(anthropic_upstream, "thinking")
    assert [thought["signature"] for thought in thoughts] == [f"signed-{at}==" for at in range(8)]
    results = list_blocks(anthropic_upstream, "tool_result")
    assert [result["tool_use_id"] for result in results] == [f"toolu_{at}" for at in range(8)]
    assert [result["tool_use_id"] for result in results if result.get("is_error")] == ["toolu_6"]
    for request in anthropic_upstream.requests:
        assert request.json["model"] == CLAUDE_MODEL
        assert "cache_control" in json.dumps(request.json), "cache marks stay as they are"
        assert request.headers["anthropic-beta"]
        assert request.headers["x-api-key"] == "sk-ant-1"
        assert "authorization" not in request.headers
    records = gateway.ledger(CLAUDE_MODEL)[before:]
    assert [record["endpoint"] for record in records] == ["messages"] * 9
    assert {record["status"] for record in records} == {"complete"}


async def test_claude_code_asks_once_with_a_wrong_key(wrong_claude):
    result = await wrong_claude("Do it.")
    assert result["is_error"]
    assert "The API key is not valid" in result["result"]
    assert result["duration_ms"] < 20_000, "it did not try again and again"
