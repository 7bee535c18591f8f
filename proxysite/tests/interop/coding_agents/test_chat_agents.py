"""Coding agents as they come, against a real gateway with a scripted chat upstream behind it:
opencode, Qwen Code, Continue, Cline and aider.

Each gets a task, in which the upstream has it run commands and read a file, and where it can go on
with a session without a terminal, a second task in the same session.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from providers.protocol.request import CHAT
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, send_stream
from proxysite.tests.interop.coding_agents.conftest import KNOWN_MODEL as MODEL
from proxysite.tests.interop.coding_agents.scripted_turns import (
    Step,
    list_outputs,
    queue_steps,
    run_program,
)
from proxysite.tests.processes import Gateway, npm_packages, pip_programs

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]

DONE_TEXT = "All done."


@dataclass
class Agent:
    """One agent's folders, and how it is run: `ask` gives it a task, `go_on` a further one."""

    home: Path
    work: Path
    ask: Callable[[str], Awaitable[str]]
    go_on: Callable[[str], Awaitable[str]]
    model: str = MODEL


@dataclass
class Place:
    """What an agent is set up with."""

    home: Path
    work: Path
    base_url: str
    key: str
    binaries: Path

    async def run(self, *command: str | Path, **env: str) -> str:
        return await run_program(self.work, {"HOME": str(self.home)} | env, *command)


@pytest.fixture(scope="module")
def binaries() -> Path:
    return npm_packages("npm_clients", "install") / "node_modules"


@pytest.fixture
def place(binaries: Path, gateway: Gateway, key: str, tmp_path: Path) -> Place:
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    return Place(home, work, f"{gateway.url}/v1", key, binaries)


def check_session(upstream: Any, records: list[dict[str, Any]], endpoint: str) -> None:
    """Check that each request of an agent stands in the ledger, and that the last one told all."""
    messages = upstream.requests[-1].json["messages"]
    assert messages[0]["role"] == "system"
    calls = [call for message in messages for call in message.get("tool_calls") or []]
    answers = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert [call["id"] for call in calls] == answers
    assert [record["endpoint"] for record in records] == [endpoint] * len(upstream.requests)
    assert {record["status"] for record in records} == {"complete"}
    assert {record["completion_tokens"] for record in records} == {3}


@pytest.fixture
def work_twice(gateway: Gateway, upstream: Any) -> Any:
    """A function that has an agent do two tasks in one session, and checks all that it said.

    `run_step` makes the step that runs a command, `read_step` the one that reads a file.
    """

    async def work(
        agent: Agent,
        endpoint: str,
        run_step: Callable[[str], Step],
        read_step: Callable[[Path], Step],
    ) -> None:
        before = len(gateway.ledger(agent.model))
        steps = (run_step("echo one > a.txt"), read_step(agent.work / "a.txt"), run_step("ls"))
        queue_steps(upstream, *steps)
        assert DONE_TEXT in await agent.ask("Do it.")
        assert (agent.work / "a.txt").read_text() == "one\n"
        first = [str(output) for output in list_outputs(upstream)]
        assert len(first) == 3
        assert "one" in first[1]
        assert "a.txt" in first[2]
        queue_steps(upstream, run_step("cat a.txt"))
        assert DONE_TEXT in await agent.go_on("And now?")
        second = [str(output) for output in list_outputs(upstream)]
        assert second[:3] == first, "the second task has the history of the first"
        assert "one" in second[3]
        assert len(upstream.requests) == 6
        check_session(upstream, gateway.ledger(agent.model)[before:], endpoint)

    return work


# --- opencode -------------------------------------------------------------------------------------
def set_up_opencode(place: Place, package: str) -> Agent:
    options = {"baseURL": place.base_url, "apiKey": place.key}
    provider = {"npm": package, "name": "gateway", "options": options, "models": {MODEL: {}}}
    config = {"provider": {"gateway": provider}, "model": f"gateway/{MODEL}", "share": "disabled"}
    (place.work / "opencode.json").write_text(json.dumps(config))
    # the program itself; the script of its npm package waits for an install script
    program = min(place.binaries.glob("opencode-*/bin/opencode"))
    switches = ("MODELS_FETCH", "AUTOUPDATE", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
    env = {f"OPENCODE_DISABLE_{switch}": "1" for switch in switches}

    async def ask(*words: str) -> str:
        return await place.run(program, "run", "--auto", *words, **env)

    return Agent(
        place.home,
        place.work,
        lambda task: ask("--title", "a task", task),
        lambda task: ask("--continue", task),
    )


@pytest.mark.parametrize(
    ("package", "endpoint"),
    [
        ("@ai-sdk/openai-compatible", CHAT),
        ("@ai-sdk/openai", "responses"),
        ("@ai-sdk/anthropic", "messages"),
    ],
    ids=["chat", "responses", "messages"],
)
async def test_opencode_works_on_two_tasks_in_one_session(place, work_twice, package, endpoint):
    await work_twice(
        set_up_opencode(place, package),
        endpoint,
        lambda command: ("bash", {"command": command, "description": "run it"}),
        lambda file: ("read", {"filePath": str(file)}),
    )


# --- Qwen Code ------------------------------------------------------------------------------------
def set_up_qwen_code(place: Place, way: str) -> Agent:
    env = {"OPENAI_API_KEY": place.key, "OPENAI_BASE_URL": place.base_url, "OPENAI_MODEL": MODEL}
    options = ("--auth-type", way, "--telemetry=false", "--yolo")

    async def ask(*words: str) -> str:
        return await place.run(place.binaries / ".bin" / "qwen", *options, *words, **env)

    return Agent(place.home, place.work, ask, lambda task: ask("--continue", task))


@pytest.mark.parametrize(
    ("way", "endpoint"),
    [("openai", CHAT), ("openai-responses", "responses")],
    ids=["chat", "responses"],
)
async def test_qwen_code_works_on_two_tasks_in_one_session(place, work_twice, way, endpoint):
    more = {"description": "run it", "is_background": False}
    await work_twice(
        set_up_qwen_code(place, way),
        endpoint,
        lambda command: ("run_shell_command", {"command": command, **more}),
        lambda file: ("read_file", {"file_path": str(file)}),
    )


# --- Continue -------------------------------------------------------------------------------------
def set_up_continue(place: Place, name: str) -> Agent:
    where = {"apiBase": place.base_url, "apiKey": place.key}
    model = {"name": "m", "provider": "openai", "model": name, **where}
    config = place.home / "config.yaml"
    content = {"name": "gateway", "version": "0.0.1", "schema": "v1", "models": [model]}
    config.write_text(json.dumps(content))  # JSON is YAML
    env = {"CONTINUE_TELEMETRY_ENABLED": "0", "CONTINUE_CLI_AUTO_UPDATED": "1"}
    program = place.binaries / ".bin" / "cn"

    async def ask(*words: str) -> str:
        return await place.run(program, "--config", config, "--auto", *words, **env)

    return Agent(
        place.home,
        place.work,
        lambda task: ask("-p", task),
        lambda task: ask("--resume", "-p", task),
        name,
    )


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [("unknown", CHAT), (MODEL, "responses")],
    ids=["chat", "responses"],
)
async def test_continue_works_on_two_tasks_in_one_session(place, work_twice, name, endpoint):
    """For a name of OpenAI's newer models it asks /v1/responses."""
    await work_twice(
        set_up_continue(place, name),
        endpoint,
        lambda command: ("Bash", {"command": command}),
        lambda file: ("Read", {"filepath": str(file)}),
    )


# --- Cline ----------------------------------------------------------------------------------------
async def test_cline_works_on_a_task_in_several_turns(place, gateway, upstream):
    """It goes on with a session only at a terminal."""
    program = place.binaries / ".bin" / "cline"
    env = {"CLINE_SESSION_BACKEND_MODE": "local"}  # without a process that stays behind
    where = ("--provider", "openai", "--baseurl", place.base_url)
    await place.run(program, "auth", *where, "--apikey", place.key, "--modelid", MODEL, **env)
    before = len(gateway.ledger(MODEL))
    commands = ("echo one > a.txt", "cat a.txt", "ls")
    queue_steps(upstream, *(("run_commands", {"commands": [command]}) for command in commands))
    output = await place.run(program, "--cwd", place.work, "--json", "Do it.", **env)
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    (result,) = [event for event in events if event["type"] == "run_result"]
    assert (result["finishReason"], result["iterations"]) == ("completed", 4)
    assert result["usage"]["inputTokens"] == 4 * 9
    assert result["usage"]["outputTokens"] == 4 * 3
    assert (place.work / "a.txt").read_text() == "one\n"
    outputs = list_outputs(upstream)
    assert "one" in outputs[1]
    assert "a.txt" in outputs[2]
    check_session(upstream, gateway.ledger(MODEL)[before:], CHAT)


# --- aider ----------------------------------------------------------------------------------------
EDIT = """Here it is.

hello.py
```python
<<<<<<< SEARCH
print("{old}")
=======
print("{new}")
>>>>>>> REPLACE
```
"""


async def test_aider_edits_a_file_twice_and_keeps_the_chat(place, gateway, upstream):
    """It uses no tools: edits stand in the text."""
    file = place.work / "hello.py"
    file.write_text('print("one")\n')
    options = [
        *("--model", f"openai/{MODEL}", "--weak-model", f"openai/{MODEL}", "--edit-format", "diff"),
        *("--no-git", "--yes-always", "--no-pretty", "--restore-chat-history"),
        *("--no-analytics", "--no-check-update", "--no-show-model-warnings"),
    ]
    env = {"OPENAI_API_BASE": place.base_url, "OPENAI_API_KEY": place.key}
    program = pip_programs("aider") / "aider"
    before = len(gateway.ledger(MODEL))
    for old, new in (("one", "two"), ("two", "three")):
        text = EDIT.format(old=old, new=new)
        pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
        upstream.queue_scripts(send_stream(*speech.streamed_completion(*pieces), DONE))
        output = await place.run(program, *options, "--message", f"Say {new}.", "hello.py", **env)
        assert "Applied edit to hello.py" in output
        assert file.read_text() == f'print("{new}")\n'
    messages = json.dumps(upstream.requests[-1].json["messages"])
    assert "Say two." in messages
    assert "Say three." in messages
    records = gateway.ledger(MODEL)[before:]
    assert [record["status"] for record in records] == ["complete"] * 2
