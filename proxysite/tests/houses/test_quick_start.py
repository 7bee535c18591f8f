"""docs/quick-start.md: a stranger's first hour, its commands as they stand, with real processes."""

import asyncio
import json
import re

import httpx
import pytest
from django.conf import settings

from proxysite.testing import speech
from proxysite.testing.house import House, create_own_database
from proxysite.testing.upstream import DONE, send_reply, send_stream
from proxysite.tests.guides import Page, terminal, variables

PAGE = Page("quick-start.md")
README = (settings.BASE_DIR / "README.md").read_text(encoding="utf-8")
SHOWN_KEY = "sk-ps-…"
pytestmark = pytest.mark.timeout(240)  # a dozen processes, one after the other


async def moonshot(exchange):
    """The upstream of the page: one of its two tokens works."""
    request = exchange.request
    if request.bearer_token != "sk-my-second-token":
        return await send_reply(
            speech.openai_error_body("Invalid Authentication", "invalid_authentication_error"), 401
        )(exchange)
    if not request.path.endswith("/chat/completions"):
        return await send_reply(
            {"code": 0, "data": {"available_balance": 1}, "scode": "0x0", "status": True}
        )(exchange)
    if request.json.get("stream"):
        return await send_stream(*speech.streamed_completion("Hello there!"), DONE)(exchange)
    return await send_reply(speech.chat_completion("Hello there!"))(exchange)


@pytest.fixture
def stranger(tmp_path, migrated_file, django_db_setup):
    """A home on SQLite that nobody has used yet."""
    house = House(tmp_path / "home")
    if migrated_file is not None:
        house.copy_database(migrated_file)
    yield house
    house.kill_process()


def get(url, **headers):
    return httpx.get(url, headers=headers, trust_env=False)


async def test_the_first_hour(stranger, upstream, tmp_path):
    upstream.set_default_script(moonshot)
    assert (
        PAGE.commands("Install and start")
        == re.search(r"## Start.*?```sh\n(.*?)```", README, re.DOTALL)[1].split("\n")[:-1]
    )
    key = re.search(r"API key +(\S+)", await asyncio.to_thread(stranger.start))[1]
    async with terminal(stranger, tmp_path) as shell:
        for command in PAGE.commands("The first answer"):
            said = await shell.paste(command.replace(SHOWN_KEY, key))
        assert json.loads(said)["choices"][0]["message"]["content"] == "Hello!"

        for command in PAGE.commands("A provider"):
            await shell.paste(command)
        local = f"http://localhost:{upstream.port}"
        where = f"base_url = '{local}/v1', allow_private = 1, confirmed_destination = '{local}'"
        stranger.run_sql(f"UPDATE providers_provider SET {where} WHERE name = 'moonshot'")
        for command in PAGE.commands("Tokens"):
            said = await shell.paste(command)
        assert re.search(r"\b1 works\b", said), said
        assert not (tmp_path / "tokens.txt").exists()

        listed, answered = [
            await shell.paste(command) for command in PAGE.commands("A key for a person")
        ][1:]
        assert [model["id"] for model in json.loads(listed)["data"]] == ["kimi-k2"]
        assert json.loads(answered)["choices"][0]["message"]["content"] == "Hello there!"
    assert await asyncio.to_thread(stranger.end_process) == 0

    (serve, show) = PAGE.commands("From another machine")
    stranger.environment |= variables(serve)
    said = await asyncio.to_thread(stranger.start)
    assert "listens on 0.0.0.0:" in said
    for host, status in (("gateway.example", 302), ("other.example", 400)):
        answer = await asyncio.to_thread(get, f"{stranger.url}/admin/", host=host)
        assert answer.status_code == status
    assert show == "make settings"
    assert re.search(
        r"^HOST +0\.0\.0\.0 +environment$",
        stranger.run_manage_command("show_settings"),
        re.MULTILINE,
    )
    assert await asyncio.to_thread(stranger.end_process) == 0
    await move_to_postgres(stranger, tmp_path, key)


async def move_to_postgres(stranger, folder, key):
    """The page's last section, where there is a Postgres."""
    export, *copies, serve = PAGE.commands("Postgres")
    assert serve == "DATABASE_URL=$TARGET make serve"
    with create_own_database() as url:
        if not url:
            return
        async with terminal(stranger, folder) as shell:
            await shell.paste(re.sub(r"postgres://\S+", url, export))
            dry, done = [await shell.paste(command) for command in copies]
        assert "Nothing was written" in dry
        assert "counts and digests agree" in done
        moved = House(stranger.home, url)
        try:
            assert "This is shown once" not in await asyncio.to_thread(moved.start)
            answer = await asyncio.to_thread(
                get, f"{moved.url}/v1/models", authorization=f"Bearer {key}"
            )
            assert {model["id"] for model in answer.json()["data"]} == {"echo", "kimi-k2"}
            assert moved.end_process() == 0
        finally:
            moved.kill_process()


def test_every_message_of_the_page_is_one_of_the_program():
    source = "\n".join(
        (settings.BASE_DIR / "proxysite" / name).read_text(encoding="utf-8")
        for name in (
            "command_line.py",
            "configuration/declarations.py",
            "../templates/unknown_host.html",
        )
    )
    for beginning in (
        "There is no database",
        "The gateway that runs here",
        "is no setting, and is not read",
    ):
        assert beginning in source
        assert beginning in PAGE.text
    assert "This gateway does not know" in source
