"""Coding agents as they come, against a real gateway with scripted upstreams behind it: Codex CLI
and GitHub Copilot CLI over the Responses API, by POST and on a WebSocket (F1, F2), and Copilot CLI
over the Messages API.

Each gets a task, and the upstream has it run commands and edit files in several turns. The agents
really do so, in a folder of their own.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proxysite.testing.upstream_server import Upstream
from proxysite.tests.interop.coding_agents.conftest import CLAUDE_MODEL, KNOWN_MODEL
from proxysite.tests.interop.coding_agents.scripted_turns import (
    Step,
    list_blocks,
    list_outputs,
    queue_messages,
    queue_steps,
    run_program,
)
from proxysite.tests.interop.coding_agents.watched_port import WatchedPort, watch_port
from proxysite.tests.processes import Gateway, npm_packages

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]

TEXT = 'two "quoted" \\d é 😀'
PATCH = f"*** Begin Patch\n*** Add File: b.txt\n+{TEXT}\n*** End Patch\n"
CODEX_CONFIG = """
model_provider = "gateway"

[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"""


@pytest_asyncio.fixture(loop_scope="module")
async def port(gateway: Gateway) -> AsyncIterator[WatchedPort]:
    async with watch_port(gateway.url) as watched:
        yield watched


@pytest.fixture(scope="module")
def programs() -> Path:
    return npm_packages("npm_agents") / "node_modules" / ".bin"


def check_requests(upstream: Upstream) -> None:
    """Check that every request was one which a strict chat upstream takes."""
    for request in upstream.requests:
        assert {tool["type"] for tool in request.json["tools"]} == {"function"}
        fields = {"client_metadata", "include", "store", "text", "web_search_options", "reasoning"}
        assert not fields & request.json.keys()
        allowed = {"role", "content", "tool_calls", "tool_call_id", "reasoning_content"}
        for message in request.json["messages"]:
            assert message.keys() <= allowed


# --- Codex ----------------------------------------------------------------------------------------
@pytest.fixture
def codex(programs: Path, gateway: Gateway, key: str, tmp_path: Path) -> Any:
    """A function that runs `codex exec` with these arguments, and returns its events."""
    return make_codex(programs, CODEX_CONFIG.format(url=gateway.url), key, tmp_path)


@pytest.fixture
def socket_codex(programs: Path, port: WatchedPort, key: str, tmp_path: Path) -> Any:
    """The same on a WebSocket, through a watched port."""
    config = CODEX_CONFIG.format(url=port.url) + "supports_websockets = true\n"
    return make_codex(programs, config, key, tmp_path)


def make_codex(programs: Path, config: str, key: str, tmp_path: Path) -> Any:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text(config)
    (tmp_path / "work").mkdir()
    env = {"HOME": str(home), "CODEX_HOME": str(home), "GATEWAY_KEY": key}
    options = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json")

    async def run(*arguments: str) -> list[dict[str, Any]]:
        command = (programs / "codex", "exec", *options, *arguments)
        output = await run_program(tmp_path / "work", env, *command)
        return [json.loads(line) for line in output.splitlines() if line.startswith("{")]

    return run


def say_codex(events: list[dict[str, Any]]) -> list[str]:
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    return [item["text"] for item in items if item["type"] == "agent_message"]


async def work_in_five_turns(codex: Any, upstream: Upstream, work: Path) -> None:
    """Have Codex run commands and patch a file, and check what came of it."""
    queue_steps(
        upstream,
        ("exec_command", {"cmd": "echo one > a.txt"}),
        ("exec_command", {"cmd": "cat a.txt"}),
        ("apply_patch", {"input": PATCH}),
        ("exec_command", {"cmd": "cat b.txt"}),
        ("exec_command", {"cmd": "ls"}),
    )
    events = await codex("-m", KNOWN_MODEL, "Do it.")
    assert say_codex(events) == ["All done."]
    assert events[-1]["type"] == "turn.completed"
    assert (work / "a.txt").read_text() == "one\n"
    assert (work / "b.txt").read_text() == TEXT + "\n"
    check_requests(upstream)
    outputs = list_outputs(upstream)
    assert len(upstream.requests) == 6
    assert len(outputs) == 5
    assert TEXT in outputs[3]
    assert "b.txt" in outputs[4]


async def test_codex_works_in_five_turns_and_patches_a_file(codex, upstream, tmp_path):
    await work_in_five_turns(codex, upstream, tmp_path / "work")


async def test_codex_works_in_five_turns_on_one_websocket(socket_codex, port, upstream, tmp_path):
    await work_in_five_turns(socket_codex, upstream, tmp_path / "work")
    lines = [line for line in port.request_lines if "/responses" in line]
    assert lines == ["GET /v1/responses"]


async def test_codex_finds_its_tools_in_a_namespace_and_resumes_a_session(
    codex, upstream, tmp_path
):
    queue_steps(
        upstream,
        ("multi_agent_v1__close_agent", {"target": "nobody"}),
        ("exec_command", {"cmd": "echo one > a.txt"}),
    )
    events = await codex("-m", "unknown", "Do it.")
    assert say_codex(events) == ["All done."]
    refused, ran = list_outputs(upstream)
    assert "nobody" in refused, "the tool itself has answered"
    assert "unsupported" not in refused
    queue_steps(upstream, ("exec_command", {"cmd": "cat a.txt"}))
    events = await codex("-m", "unknown", "resume", "--last", "And now?")
    assert say_codex(events) == ["All done."]
    check_requests(upstream)
    outputs = list_outputs(upstream)
    assert outputs[:2] == [refused, ran]
    assert "one" in outputs[2]


# --- Copilot --------------------------------------------------------------------------------------
def list_copilot_steps() -> list[Step]:
    """Return five calls of Copilot's tools."""
    commands = ("echo one > a.txt", "cat a.txt", "cat b.txt", "ls")
    runs = [("bash", {"command": command, "description": "run it"}) for command in commands]
    return [*runs[:2], ("apply_patch", {"input": PATCH}), *runs[2:]]


async def run_copilot(programs: Path, tmp_path: Path, **provider: str) -> None:
    """Run one task of Copilot, and check that it has done the five steps.

    `provider` are the variables behind COPILOT_PROVIDER_, and MODEL.
    """
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    env = {
        "HOME": str(home),
        "COPILOT_HOME": str(home),
        "COPILOT_OFFLINE": "true",
        "COPILOT_AUTO_UPDATE": "false",
        "COPILOT_MODEL": provider.pop("MODEL"),
    }
    env |= {f"COPILOT_PROVIDER_{name}": value for name, value in provider.items()}
    command = (programs / "copilot", "-p", "Do it.", "--allow-all-tools", "--no-color")
    assert "All done." in await run_program(work, env, *command)
    assert (work / "a.txt").read_text() == "one\n"
    assert (work / "b.txt").read_text() == TEXT + "\n"


@pytest.mark.parametrize("transport", ["http", "websockets"])
async def test_copilot_works_in_five_turns_and_patches_a_file(
    programs, port, key, upstream, tmp_path, transport
):
    queue_steps(upstream, *list_copilot_steps())
    await run_copilot(
        programs,
        tmp_path,
        MODEL=KNOWN_MODEL,
        BASE_URL=f"{port.url}/v1",
        API_KEY=key,
        WIRE_API="responses",
        TRANSPORT=transport,
    )
    check_requests(upstream)
    outputs = list_outputs(upstream)
    assert len(outputs) == 5
    assert TEXT in outputs[3]
    way = "GET /v1/responses" if transport == "websockets" else "POST /v1/responses"
    assert {line for line in port.request_lines if "/responses" in line} == {way}


async def test_copilot_works_over_the_messages_api(
    programs, gateway, key, anthropic_upstream, tmp_path
):
    create = ("create", {"path": str(tmp_path / "work" / "b.txt"), "file_text": TEXT + "\n"})
    steps = [create if step[0] == "apply_patch" else step for step in list_copilot_steps()]
    queue_messages(anthropic_upstream, *steps)
    await run_copilot(
        programs, tmp_path, MODEL=CLAUDE_MODEL, TYPE="anthropic", BASE_URL=gateway.url, API_KEY=key
    )
    results = list_blocks(anthropic_upstream, "tool_result")
    assert [result["tool_use_id"] for result in results] == [f"toolu_{at}" for at in range(5)]
    assert TEXT in results[3]["content"]
    assert len(anthropic_upstream.requests) == 6
