"""A real process under large bodies: its memory stays small, and others are answered."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from proxysite.testing import wait_until_true
from proxysite.testing.house import make_house

MEGABYTE = 2**20
CONNECTIONS, BODY_BYTES = 100, 16 * MEGABYTE
STRANGERS = {
    "a bogus key": ("/v1/conversations", "Authorization: Bearer bogus"),
    "a bogus cookie": ("/admin/login/", "Cookie: a=b"),
    "a bogus key on a relaying endpoint": ("/v1/chat/completions", "Authorization: Bearer bogus"),
}


@pytest.fixture(scope="module")
def running(_furnished, tmp_path_factory):
    """A house with small bounds, which the tests of this module share."""
    home = tmp_path_factory.mktemp("bodies") / "home"
    bounds = {"BODIES_BYTES": str(24 * MEGABYTE), "BODIES_BYTES_PER_KEY": str(20 * MEGABYTE)}
    with make_house(home, template=_furnished[0], **bounds) as found:
        found.start()
        yield found


def rss_megabytes(process):
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4_096 / 1e6


async def offer(port, path, header, size=BODY_BYTES):
    """Send a body but for its last bytes, and return the status of the answer when one comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", header, "Content-Type: application/json")
    writer.write("\r\n".join([*lines, f"Content-Length: {size}", "\r\n"]).encode())
    try:
        answering = asyncio.create_task(reader.readline())
        piece = b"x" * 65_536
        for _ in range(size // len(piece) - 1):
            if answering.done():
                break
            writer.write(piece)
            await writer.drain()
        return int((await answering).split()[1]), writer
    except BaseException:
        writer.close()
        raise


async def held(stack, running, path, header):
    """A hundred such at once; their answers. The connections stay until the stack ends."""
    offers = [offer(running.port, path, header) for _ in range(CONNECTIONS)]
    answers = await asyncio.gather(*offers)
    for _, writer in answers:
        stack.callback(writer.close)
    return [status for status, _ in answers]


@pytest.mark.parametrize(("path", "header"), STRANGERS.values(), ids=STRANGERS)
async def test_a_hundred_large_bodies_of_strangers_take_no_memory(running, path, header):
    before = rss_megabytes(running.process)
    async with AsyncExitStack() as stack:
        statuses = await held(stack, running, path, header)
        assert rss_megabytes(running.process) - before < 30
    assert set(statuses) <= {401, 413}


async def test_the_bodies_of_one_key_are_bounded_and_others_are_answered(running, house_key):
    """Of thirty bodies of 4 MB that arrive at once from one key, five fit: those wait on disk."""
    before, header = rss_megabytes(running.process), f"Authorization: Bearer {house_key}"
    offers = [
        asyncio.create_task(offer(running.port, "/v1/chat/completions", header, 4 * MEGABYTE))
        for _ in range(30)
    ]
    async with httpx.AsyncClient(base_url=running.url, trust_env=False, timeout=20) as http:
        body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {house_key}"}
        assert (
            await http.post("/v1/chat/completions", json=body, headers=headers)
        ).status_code == 200
        assert (await http.get("/readyz")).status_code == 200
    await wait_until_true(lambda: sum(one.done() for one in offers) >= 25)
    assert rss_megabytes(running.process) - before < 60
    for one in offers:
        if one.done():
            status, writer = one.result()
            writer.close()
            assert status == 429
        else:
            one.cancel()
    await asyncio.gather(*offers, return_exceptions=True)


async def test_a_body_of_small_things_is_refused_and_a_large_text_is_answered(running, house_key):
    headers = {"authorization": f"Bearer {house_key}", "content-type": "application/json"}
    small = (
        b'{"model":"echo","messages":[{"role":"user","content":"x"}],"x":['
        + b"[]," * 3_000_000
        + b"1]}"
    )
    large = b'{"model":"echo","messages":[{"role":"user","content":"%b"}]}' % (
        b"word, " * 1_700_000
    )
    async with httpx.AsyncClient(base_url=running.url, trust_env=False, timeout=30) as http:
        for content, status in ((small, 400), (large, 200)):
            answer = await http.post("/v1/chat/completions", content=content, headers=headers)
            assert answer.status_code == status
