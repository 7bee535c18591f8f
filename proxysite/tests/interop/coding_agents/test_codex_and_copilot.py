"""Coding agents as they come, against a real gateway with a scripted chat upstream behind it: Codex
CLI and GitHub Copilot CLI over the Responses API (F1, F2).

Each gets a task, and the upstream has it run commands and edit files in several turns. The agents
really do so, in a folder of their own.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from proxysite.testing.upstream_server import Upstream
from proxysite.tests.interop.coding_agents.conftest import KNOWN_MODEL
from proxysite.tests.interop.coding_agents.scripted_turns import (
    list_outputs,
    queue_steps,
    run_program,
)
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
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text(CODEX_CONFIG.format(url=gateway.url))
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


async def test_codex_works_in_five_turns_and_patches_a_file(codex, upstream, tmp_path):
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
    assert (tmp_path / "work" / "a.txt").read_text() == "one\n"
    assert (tmp_path / "work" / "b.txt").read_text() == TEXT + "\n"
    check_requests(upstream)
    outputs = list_outputs(upstream)
    assert len(upstream.requests) == 6
    assert len(outputs) == 5
    assert TEXT in outputs[3]
    assert "b.txt" in outputs[4]


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
async def test_copilot_works_in_five_turns_and_patches_a_file(
    programs, gateway, key, upstream, tmp_path
):
    queue_steps(
        upstream,
        *(
            ("bash", {"command": command, "description": "run it"})
            for command in ("echo one > a.txt", "cat a.txt")
        ),
        ("apply_patch", {"input": PATCH}),
        *(
            ("bash", {"command": command, "description": "run it"})
            for command in ("cat b.txt", "ls")
        ),
    )
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    env = {
        "HOME": str(home),
        "COPILOT_HOME": str(home),
        "COPILOT_OFFLINE": "true",
        "COPILOT_AUTO_UPDATE": "false",
        "COPILOT_MODEL": KNOWN_MODEL,
        "COPILOT_PROVIDER_BASE_URL": f"{gateway.url}/v1",
        "COPILOT_PROVIDER_API_KEY": key,
        "COPILOT_PROVIDER_WIRE_API": "responses",
    }
    command = (programs / "copilot", "-p", "Do it.", "--allow-all-tools", "--no-color")
    assert "All done." in await run_program(work, env, *command)
    assert (work / "a.txt").read_text() == "one\n"
    assert (work / "b.txt").read_text() == TEXT + "\n"
    check_requests(upstream)
    outputs = list_outputs(upstream)
    assert len(outputs) == 5
    assert TEXT in outputs[3]
