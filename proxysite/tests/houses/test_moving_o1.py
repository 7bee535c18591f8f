"""The page for people who come from O1-API: its commands as they stand, with a real process."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Exchange, send_reply, send_stream
from proxysite.tests.guides import Page, Terminal, terminal, variables

PAGE = Page("coming-from-o1-api.md")
STEP = {"title": "Count", "content": 'Six "sevens".', "next_action": "final_answer"}
CONFIG = """# configuration
api_bearer_token: 'of everybody'
model_provider_api_key: sk-made-up-0123456789
default_api_url: "{url}/chat/completions"
default_model: gpt-4o-mini
stream_status_feedback: true
use_regex_processing: true
"""


async def think(exchange: Exchange) -> None:
    """An upstream that thinks in steps where it is asked for JSON, and answers otherwise."""
    asked = exchange.request.json
    said = json.dumps(STEP) if asked.get("response_format") else "It is 42."
    if asked.get("stream"):
        return await send_stream(*speech.streamed_completion(said), DONE)(exchange)
    return await send_reply(speech.chat_completion(said, usage=speech.token_usage(10, 5)))(exchange)


@pytest.fixture
def folder(tmp_path: Path, upstream: Any) -> Path:
    """What the person has: the configuration."""
    found = tmp_path / "theirs"
    found.mkdir()
    (found / "config.yaml").write_text(CONFIG.format(url=upstream.url))
    return found


async def test_the_commands_for_users_of_o1_api(migrated_house, upstream, folder):
    upstream.set_default_script(think)
    begin, *start = PAGE.commands("Start")
    assert variables(begin) == {"PORT": "18888"}
    await asyncio.to_thread(migrated_house.start)
    async with terminal(migrated_house, folder) as shell:
        await in_steps(shell, start)
        await in_a_conversation(shell, PAGE.commands("Conversations"), upstream)
    assert {request.bearer_token for request in upstream.requests} == {"sk-made-up-0123456789"}


async def in_steps(shell: Terminal, commands: list[str]) -> None:
    key, profile, ask, watch = commands
    await shell.paste(key)
    said = await shell.paste(f"{profile} --allow-private")
    assert "Model o1-gpt-4o-mini: stepwise over gpt-4o-mini, added." in said
    assert "of everybody" not in said
    answer = json.loads(await shell.paste_in_force(ask))
    assert answer["object"] == "chat.completion"
    assert [step["title"] for step in answer["steps"]] == ["Count"] * 3
    text = answer["choices"][0]["message"]["content"]
    assert text.startswith('## Step 1: Count\n\nSix "sevens".')
    assert text.endswith("### Final Answer\n\nIt is 42.")
    lines = [
        line.removeprefix("data: ")
        for line in (await shell.paste(watch)).split("\n\n")
        if line[:5] == "data:"
    ]
    assert lines.pop().strip() == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    deltas = [
        chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]
    ]
    assert "".join(deltas) == text
    assert [chunk["status"]["step"] for chunk in chunks if "status" in chunk] == [2, 3, None]
    assert sum("total_thinking_time" in chunk for chunk in chunks) == 1


async def in_a_conversation(shell: Terminal, commands: list[str], upstream: Any) -> None:
    first, second, by_path = commands
    assert json.loads(await shell.paste(first))["conversation_id"] == "maths"
    await shell.paste(second)
    answer = json.loads(await shell.paste(by_path))
    assert answer["choices"][0]["message"]["content"].endswith("It is 42.")
    before = len(upstream.requests) - 4  # three steps and the answer
    system, *told = upstream.requests[before].json["messages"]
    assert system["role"] == "system"
    assert [message["content"] for message in told if message["role"] == "user"] == [
        "Let x be 6 × 7.",
        "What is x + 1?",
        "And x + 2?",
    ]
    assert [message["content"] for message in told if message["role"] == "assistant"] == [
        "It is 42."
    ] * 2


def test_every_test_that_the_page_names_is_there() -> None:
    assert PAGE.tests()
    assert PAGE.tests() <= {path.name for path in settings.BASE_DIR.glob("*/tests/**/test_*.py")}
