"""The live board of a gateway with several processes: Redis joins them."""

import asyncio
import contextlib

import pytest
from django.conf import settings

from proxysite.testing.upstream import keep_silent
from proxysite.tests.desk.live.viewers import open_board
from proxysite.tests.houses.house_workers import list_workers, open_client, run_only, start_workers

pytestmark = pytest.mark.skipif(settings.EMBEDDED_DATABASE, reason="SQLite is for one process")
MAKE_SESSION = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.filter(is_superuser=True).first())
print("cookie", client.cookies["sessionid"].value)
"""


def sign_in_administrator(house):
    output = house.run_manage_command("shell", "-c", MAKE_SESSION)
    return f"sessionid={output.split('cookie ')[1].split()[0]}"


async def ask_without_an_answer(house, key):
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    with contextlib.suppress(Exception):
        async with open_client(house) as http:
            await http.post(
                "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
            )


@pytest.mark.skipif(not settings.REDIS_URL, reason="needs REDIS_URL")
async def test_a_viewer_of_one_process_sees_the_requests_of_the_other(
    own_house, house_key, house_upstream
):
    own_house.environment["REDIS_URL"] = settings.REDIS_URL
    await start_workers(own_house, 2)
    cookie = await asyncio.to_thread(sign_in_administrator, own_house)
    first, second = list_workers(own_house)
    house_upstream.set_default_script(keep_silent)
    with run_only(own_house, first):
        asked = asyncio.create_task(ask_without_an_answer(own_house, house_key))
        await house_upstream.wait_for_request()
    with run_only(own_house, second):
        watching = open_board(own_house, cookie)
        board = await watching.__aenter__()
    row = await board.read_until(lambda frame: next(iter(frame["running"]), None))
    assert (row["model"], row["state"]) == ("m", "asked")
    assert board.frames[-1]["processes"] == 2
    await watching.__aexit__(None, None, None)
    asked.cancel()


async def test_without_redis_the_page_says_how_many_processes_are_not_seen(own_house):
    await start_workers(own_house, 2)
    cookie = await asyncio.to_thread(sign_in_administrator, own_house)
    async with open_board(own_house, cookie) as board:
        frame = await board.read_frame()
    assert frame["unseen_processes"] == 1
