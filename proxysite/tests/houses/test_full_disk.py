"""A real gateway whose disk is full: a small file system in memory, where one may be mounted."""

import asyncio
import os
import subprocess

import httpx
import pytest
from django.conf import settings

from proxysite.testing import wait_until_true
from proxysite.testing.house import make_house
from proxysite.testing.upstream import Gate, answer_honestly

CHAT = "/v1/chat/completions"
DISK_BYTES = 24 * 2**20

pytestmark = pytest.mark.skipif(
    not settings.EMBEDDED_DATABASE, reason="the database of Postgres is on another disk"
)


@pytest.fixture
def disk(tmp_path):
    """A file system of its own; `disk / "home"` is a home to be."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def full_house(_furnished, disk, tmp_path):
    """A house whose home lies on that disk, not started yet."""
    with make_house(disk / "home", template=_furnished[0]) as found:
        found._log = tmp_path / "house.log"
        yield found


def fill(disk):
    """Leave no byte."""
    with open(disk / "ballast", "wb", buffering=0) as ballast:
        for size in (2**20, 4_096, 1):
            try:
                while True:
                    ballast.write(b"\0" * size)
            except OSError:
                pass


def test_a_start_on_a_full_disk_is_one_clear_line_and_exit_status_1(full_house, disk):
    fill(disk)
    full_house.launch_process("--port", "0")
    assert full_house.wait_for_end() == 1
    [line] = full_house.output.strip().splitlines()
    assert "disk is full" in line or "No space left on device" in line


async def test_no_row_is_lost_while_the_disk_is_full_and_it_heals_by_itself(
    full_house, disk, house_upstream, house_key
):
    gate = Gate()

    async def late(exchange):
        await gate.wait_until_open()
        await answer_honestly("Hello!")(exchange)

    house_upstream.set_default_script(late)
    await asyncio.to_thread(full_house.start)
    client = httpx.AsyncClient(
        base_url=full_house.url,
        trust_env=False,
        timeout=30,
        headers={"authorization": f"Bearer {house_key}"},
    )
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    async with client as http:
        running = [
            asyncio.create_task(http.post(CHAT, json=body | {"stream": bool(n % 2)}))
            for n in range(20)
        ]
        await house_upstream.wait_for_request(20)
        fill(disk)
        gate.open()
        answers = await asyncio.gather(*running)
        assert {answer.status_code for answer in answers} == {200}

        for _ in range(5):
            refused = await http.post(CHAT, json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (
                503,
                "database_unavailable",
            )
            assert refused.headers["retry-after"]
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.text) == (503, "not ready: the disk is full\n")

        os.unlink(disk / "ballast")

        async def is_ready():
            return (await http.get("/readyz")).status_code == 200

        await wait_until_true(is_ready)
        assert (await http.post(CHAT, json=body)).status_code == 200
    written = full_house.run_sql("SELECT id FROM api_usagerecord WHERE status = 'complete'")
    wanted = {answer.headers["x-request-id"].removeprefix("req_") for answer in answers}
    assert wanted <= {row[0] for row in written}
    assert "the disk is full" in full_house.output
    assert "Traceback" not in full_house.output
    assert "rollback" not in full_house.output
