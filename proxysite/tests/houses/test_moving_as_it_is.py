"""Files and requests of the four programs as they are, with real processes."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from proxysite.testing import speech
from proxysite.testing.forked_process import run_forked_command
from proxysite.testing.house import House
from proxysite.testing.upstream import Exchange, send_reply

OLD_KEY = "the-key-that-everybody-has"
HELLO = [{"role": "user", "content": "Hello!"}]
CONFIG = """api_bearer_token: {key} # of the callers
model_provider_api_key: sk-made-up-0123456789
default_api_url: "{url}/chat/completions"
default_model: gpt-4o-mini
"""


async def answer_plainly(exchange: Exchange) -> None:
    await send_reply(speech.chat_completion("It is 42."))(exchange)


def ask(house: House, key: str, body: dict[str, Any]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{house.url}/v1/chat/completions"
    return httpx.post(url, headers=headers, json=body, timeout=60)


async def test_a_home_that_was_begun_without_variables_takes_them_later(migrated_house, tmp_path):
    house = migrated_house
    await asyncio.to_thread(house.start)
    assert await asyncio.to_thread(house.end_process) == 0
    (tmp_path / "accounts.txt").write_text('{"email":"june@example.cn","k2_password":"x"}\n')
    house.environment |= {  # as `docker run --env-file` hands lines over
        "VALID_API_KEY": f"{OLD_KEY} # 客户端密钥",
        "PROXY_MODE": "user  # 模式",
        "TOOL_SUPPORT": "true # 工具",
        "ACCOUNTS_FILE": str(tmp_path / "accounts.txt"),
    }
    printed = await asyncio.to_thread(house.start)
    assert "VALID_API_KEY: taken as an API key of the user 'shared'." in printed
    assert "The provider k2think-web is there, in the mode user." in printed
    assert "ACCOUNTS_FILE: 1 imported for k2think-web." in printed
    assert "This is shown once" not in printed
    assert OLD_KEY not in printed
    answer = await asyncio.to_thread(ask, house, OLD_KEY, {"model": "echo", "messages": HELLO})
    assert answer.status_code == 200
    assert await asyncio.to_thread(house.end_process) == 0
    again = await asyncio.to_thread(house.start)
    assert "VALID_API_KEY" not in again


async def test_the_literal_request_of_o1_api_is_answered(
    migrated_house: House, upstream: Any, tmp_path: Path
) -> None:
    upstream.set_default_script(answer_plainly)
    await asyncio.to_thread(migrated_house.start)
    (tmp_path / "config.yaml").write_text(CONFIG.format(key=OLD_KEY, url=upstream.url))
    words = ("import_profile", str(tmp_path / "config.yaml"), "--allow-private")
    done = await asyncio.to_thread(run_forked_command, words, migrated_house.environment)
    assert done.returncode == 0, done
    assert OLD_KEY not in done.stdout + done.stderr
    body = {"messages": HELLO}
    for _ in range(100):  # the new rows are in force within a second
        answer = await asyncio.to_thread(ask, migrated_house, OLD_KEY, body)
        if answer.status_code == 200:
            break
        await asyncio.sleep(0.1)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"].endswith("It is 42.")
    assert upstream.requests[-1].json["model"] == "gpt-4o-mini"
