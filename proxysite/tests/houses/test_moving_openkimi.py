"""The page for people who come from OpenKimi: its commands as they stand, with a real process."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from conversations.strategies.multipath import multipath_options
from proxysite.testing import PATIENCE_SECONDS, speech, wait_until_true
from proxysite.testing.upstream import DONE, Exchange, send_reply, send_stream
from proxysite.tests.guides import Page, Terminal, terminal, variables

PAGE = Page("coming-from-openkimi.md")
SECRET = "The secret word of the lighthouse is pomegranate."
FILLER = (
    "On day {0} the harbour master of town number {0} counted {1} ships and wrote a remark "
    "about the tide. "
)
STEP = {"title": "Count", "content": "Six sevens.", "next_action": "final_answer"}
FOUND = {"title": "Graz", "url": "https://example.org/graz", "content": "A city."}
CONFIG = {
    "processor": {
        "batch_size": 512,
        "overlap_size": 50,
        "entropy_threshold": 2.8,
        "entropy_method": "weighted",
    },
    "rag": {
        "embedding_model": "all-MiniLM-L6-v2",
        "top_k": 3,
        "use_faiss": True,
        "similarity_threshold": 0.7,
    },
    "mpr_candidates": 2,
}


async def speak(exchange: Exchange) -> None:
    """An upstream that plans, drafts, thinks in steps, merges; and, at another address, a
    SearXNG.
    """
    if "/search" in exchange.request.path:
        return await send_reply({"query": "Graz", "results": [FOUND]})(exchange)
    asked = exchange.request.json
    last = asked["messages"][-1]["content"]
    if asked.get("response_format"):
        said = json.dumps(STEP)
    elif last == multipath_options.FRAMEWORK_PROMPT:
        said = "The plan."
    else:
        said = "An answer."
    if asked.get("stream"):
        return await send_stream(*speech.streamed_completion(said), DONE)(exchange)
    return await send_reply(speech.chat_completion(said, usage=speech.token_usage(10, 5)))(exchange)


def prompts(upstream: Any) -> list[list[dict[str, Any]]]:
    return [request.json["messages"] for request in upstream.requests if request.body]


def content(answer: str) -> str:
    return str(json.loads(answer)["choices"][0]["message"]["content"])


@pytest.fixture
def folder(tmp_path: Path, upstream: Any) -> Path:
    """What the person has: the configuration and a long report."""
    found = tmp_path / "theirs"
    found.mkdir()
    llm = {
        "type": "api",
        "api_key": "sk-made-up-0123456789",
        "api_url": f"{upstream.url}/chat/completions",
    }
    llm |= {"model_name": "kimi-k2", "context_length": 16_384}
    (found / "config.json").write_text(json.dumps({"llm": llm} | CONFIG))
    days = [FILLER.format(day, day * 7 % 31) for day in range(4_000)]
    (found / "handbook.txt").write_text("".join(days[:500]))
    (found / "report.txt").write_text("".join([*days[:2_600], SECRET, " ", *days[2_600:]]))
    return found


async def test_the_commands_for_users_of_openkimi(migrated_house, upstream, folder):
    upstream.set_default_script(speak)
    begin, *start = PAGE.commands("Start")
    searching, search = PAGE.commands("Web search")
    migrated_house.environment |= {
        **variables(begin),
        **variables(searching),
        "SEARCH_URL": upstream.url,
    }
    migrated_house.environment |= {"SEARCH_ALLOW_PRIVATE": "true", "EMBEDDED_WORKER": "true"}
    await asyncio.to_thread(migrated_house.start)
    async with terminal(migrated_house, folder) as shell:
        await in_several_paths(shell, start, upstream)
        await in_a_session(shell, PAGE.commands("Sessions"), upstream)
        await with_a_file(shell, PAGE.commands("Files and long documents"), upstream)
        (thinking,) = PAGE.commands("Chain of thought")
        thought = json.loads(await shell.paste(thinking))
        assert [step["title"] for step in thought["steps"]] == ["Count"] * 3
        found = json.loads(await shell.paste(search))
        result = {"title": FOUND["title"], "link": FOUND["url"], "snippet": FOUND["content"]}
        assert found == {"status": "success", "query": "Graz", "results": [result]}


async def in_several_paths(shell: Terminal, commands: list[str], upstream: Any) -> None:
    key, profile, ask, once = commands
    await shell.paste(key)
    said = await shell.paste(f"{profile} --allow-private")
    assert "Model openkimi-kimi-k2: multipath over kimi-k2, added." in said
    assert "entropy_threshold: 2.8 bits" in said
    assert content(await shell.paste_in_force(ask)) == "An answer."
    assert len(upstream.requests) == 4  # the plan, two drafts, their synthesis
    assert {request.bearer_token for request in upstream.requests} == {"sk-made-up-0123456789"}
    streamed = await shell.paste(once)
    assert streamed.rstrip().endswith("data: [DONE]")
    assert len(upstream.requests) == 6


async def in_a_session(shell: Terminal, commands: list[str], upstream: Any) -> None:
    first, second, every, one, gone, another = commands
    assert json.loads(await shell.paste(first))["session_id"] == "holidays"
    await shell.paste(second)
    assert [message["content"] for message in prompts(upstream)[-1]] == [
        "I am going to Graz.",
        "An answer.",
        "Where am I going?",
    ]
    assert [session["session_id"] for session in json.loads(await shell.paste(every))["data"]] == [
        "holidays"
    ]
    session = json.loads(await shell.paste(one))
    assert session.keys() == {"session_id", "created_at", "last_accessed", "expires_at"}
    await shell.paste(gone)
    assert json.loads(await shell.paste(one))["error"]["code"]
    assert json.loads(await shell.paste(another))["session_id"] not in ("", "holidays")


async def with_a_file(shell: Terminal, commands: list[str], upstream: Any) -> None:
    upload, ingest, status, ask, preload = commands
    await shell.paste(upload)
    assert json.loads(await shell.paste(ingest))["status"] in ("processing", "ingested")

    async def ingested() -> bool:
        now = json.loads(await shell.paste(status))["status"]
        assert now in ("processing", "ingested")
        return bool(now == "ingested")

    async with asyncio.timeout(PATIENCE_SECONDS * 4):
        await wait_until_true(ingested)
    for _ in range(2):  # the second time nothing is taken in
        assert content(await shell.paste(ask)) == "An answer."
        told = upstream.last_exchange.request.body.decode()
        assert SECRET in told
        assert len(told) < 100_000  # of 400,000
    assert "In chat it is the file file-" in await shell.paste(preload)


def test_every_test_that_the_page_names_is_there() -> None:
    assert PAGE.tests()
    assert PAGE.tests() <= {path.name for path in settings.BASE_DIR.glob("*/tests/**/test_*.py")}


def test_every_setting_of_the_page_is_known() -> None:
    source = (
        settings.BASE_DIR / "proxysite" / "settings.py"
    ).read_text() + "OPENAI_API_BASE OPENAI_API_KEY"
    assert {"HOST", "SEARCH_KEY", "SESSION_IDLE_SECONDS"} <= PAGE.settings()
    assert {name for name in PAGE.settings() if name not in source} == set()
