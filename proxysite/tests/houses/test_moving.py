"""The page for people who come from the K2Think and Kimi proxies: its commands as they stand, with
real processes.
"""

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from openai import AsyncOpenAI

from providers.network.destination import find_origin
from providers.tests.kimi_site import Site, jwt
from proxysite.testing.forked_process import make_manage_command
from proxysite.testing.house import House
from proxysite.testing.upstream import Exchange, send_reply, send_stream

PAGE = (settings.BASE_DIR / "docs" / "coming-from-k2think-and-kimi.md").read_text(encoding="utf-8")
HELLO = [{"role": "user", "content": "Hello!"}]


def commands(section: str) -> list[str]:
    """The lines of the shell blocks under that heading."""
    text = re.split(r"^## ", PAGE.split(f"## {section}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.strip().splitlines()
    ]


def variables(command: str) -> dict[str, str]:
    """Those of a line that ends with `make serve`."""
    assert command.endswith(" make serve"), command
    return dict(pair.split("=", 1) for pair in command.removesuffix(" make serve").split(" "))


async def serve(house: House, command: str, **more: str) -> str:
    house.environment |= variables(command) | more
    return await asyncio.to_thread(house.start)


async def shell(house: House, command: str, folder: Path) -> str:
    """What the line writes, run in a folder that has the person's token file."""
    line = command.replace("http://127.0.0.1:8000", house.url).replace(
        ".venv/bin/python manage.py", make_manage_command()
    )
    run = {
        "cwd": folder,
        "env": house.environment,
        "capture_output": True,
        "text": True,
        "timeout": 60,
    }
    done = await asyncio.to_thread(subprocess.run, ["/bin/sh", "-c", line], **run)
    assert done.returncode == 0, done
    return done.stdout


async def think(exchange: Exchange) -> None:
    """K2-Think's site for the user whose token is known."""
    if exchange.request.bearer_token != "k2-token-one":
        await send_reply({"detail": "401 Unauthorized"}, 401)(exchange)
    elif exchange.request.path.endswith("/models"):
        await send_reply({"data": [{"id": "MBZUAI-IFM/K2-Think-v2"}]})(exchange)
    else:
        texts = (
            "<think>Hm",
            "<think>Hm.</think>",
            "<think>Hm.</think><answer>Hello there!</answer>",
        )
        await send_stream(
            *({"choices": [{"delta": {"content": text}}]} for text in texts), "[DONE]"
        )(exchange)


async def test_the_commands_for_users_of_the_k2think_proxy(migrated_house, upstream, tmp_path):
    upstream.set_default_script(think)
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "tokens.txt").write_text("# ours\nk2-token-one\n")
    begin, ask, *later = commands("From the K2Think API Proxy")
    where = f"http://127.0.0.1:{upstream.port}/api/chat/completions"
    said = await serve(
        migrated_house, begin, USER_API_URL=where, USER_TOKENS_FILE=str(folder / "tokens.txt")
    )
    assert "USER_TOKENS_FILE: 1 imported for k2think-web." in said
    assert "my-old-shared-key" not in said
    answer = json.loads(await shell(migrated_house, ask, folder))
    assert answer["choices"][0]["message"]["content"] == "Hello there!"
    assert answer["choices"][0]["message"]["reasoning_content"] == "Hm."
    outputs = [await shell(migrated_house, command, folder) for command in later]
    assert "0 imported, 1 known already" in outputs[0]
    assert outputs[1].strip() == "1 works"
    assert re.search(r"^sk-ps-\w+$", outputs[2].strip().splitlines()[-1])
    assert len(outputs) == 4
    async with AsyncOpenAI(
        base_url=f"{migrated_house.url}/v1", api_key="my-old-shared-key", max_retries=0
    ) as client:
        hidden = await client.chat.completions.create(
            model="MBZUAI-IFM/K2-Think-v2-nothink", messages=HELLO
        )
        assert hidden.choices[0].message.content == "Hello there!"
        assert not hasattr(hidden.choices[0].message, "reasoning_content")


async def test_the_commands_for_users_of_the_kimi_proxy(migrated_house, upstream):
    site = Site("kimi_web")
    upstream.set_default_script(site)
    begin, again = commands("From the Kimi API Proxy")
    said = await serve(migrated_house, begin.replace("first-token", jwt("june")))
    assert "KIMI_TOKENS: 2 imported for kimi-web." in said
    assert await asyncio.to_thread(migrated_house.end_process) == 0
    true = "true" if migrated_house.database_url else "1"
    confirmed = f"confirmed_destination = '{find_origin(upstream.url)}'"
    where = f"base_url = '{upstream.url}', allow_private = {true}, {confirmed}"
    migrated_house.run_sql(f"UPDATE providers_provider SET {where} WHERE name = 'kimi-web'")
    await serve(migrated_house, again)
    for bearer in ("my-old-team-key", f"{jwt('stranger')},{jwt('another')}"):
        async with AsyncOpenAI(
            base_url=f"{migrated_house.url}/v1", api_key=bearer, max_retries=0
        ) as client:
            answer = await client.chat.completions.create(model="k2", messages=HELLO)
            assert answer.choices[0].message.content == "Hello there!"
            assert {model.id async for model in client.models.list()} >= {"k2", "k1.5"}
    assert jwt("stranger") not in migrated_house.output


def test_every_variable_of_the_page_is_known() -> None:
    names = set(
        re.findall(
            r"`([A-Z][A-Z0-9_]{4,})`", PAGE.split("## Variables")[1].split("Not taken over")[0]
        )
    )
    source = "".join(
        (settings.BASE_DIR / "proxysite" / name).read_text()
        for name in ("settings.py", "configuration/env_aliases.py")
    )
    assert {name for name in names if f'"{name}"' not in source} == set()
    assert not os.environ.get("VALID_API_KEY")
    assert names


@pytest.mark.parametrize("section", ["From the K2Think API Proxy", "From the Kimi API Proxy"])
def test_each_section_begins_with_serving(section: str) -> None:
    assert variables(commands(section)[0])


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(?:\w+/tests/)?(?:\w+/)*(test_\w+\.py)`", PAGE))
    there = {path.name for path in settings.BASE_DIR.glob("*/tests/**/test_*.py")}
    assert named
    assert named <= there
