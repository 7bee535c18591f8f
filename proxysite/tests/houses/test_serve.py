"""`serve` as an operator meets it: the first run, the second, mistakes, and every way to end."""

import asyncio
import re
import signal
import socket
import stat
import subprocess

import httpx
import pytest

from proxysite.testing import speech, wait_until_true
from proxysite.testing.house import UPSTREAM_TOKEN
from proxysite.testing.upstream import CUT, DONE, Gate, send_pieces, send_refusal, send_stream

CHAT = "/v1/chat/completions"


@pytest.fixture
async def running(own_house):
    """A running house of this test alone."""
    await asyncio.to_thread(own_house.start)
    return own_house


def asked(key, **body):
    data = {"model": "m", "messages": [{"role": "user", "content": "canary of a prompt"}]} | body
    return {"json": data, "headers": {"authorization": f"Bearer {key}"}}


def client(house):
    return httpx.AsyncClient(base_url=house.url, trust_env=False, timeout=30)


async def served(house, key, model="echo"):
    """Whether a request is answered now."""
    async with client(house) as http:
        return (await http.post(CHAT, **asked(key, model=model))).status_code == 200


# --- first and second run -------------------------------------------------------------------------
def test_the_first_run_shows_how_to_begin(empty_house):
    empty_house.starts_cold = True
    said = empty_house.start()
    password = re.search(r"password +(\S+)", said)[1]
    curl = next(line.strip() for line in said.splitlines() if line.strip().startswith("curl "))
    assert re.search(r"API key +(\S+)", said)[1] in curl

    done = subprocess.run(
        ["bash", "-c", curl], capture_output=True, text=True, timeout=30, check=True
    )
    assert '"content":"Hello!"' in done.stdout.replace(" ", "")

    assert stat.S_IMODE((empty_house.home / "secrets.env").stat().st_mode) == 0o600
    assert stat.S_IMODE(empty_house.home.stat().st_mode) == 0o700
    with httpx.Client(base_url=empty_house.url, trust_env=False) as http:
        page = http.get("/admin/login/")
        form = {
            "username": "admin",
            "password": password,
            "csrfmiddlewaretoken": page.cookies["csrftoken"],
        }
        assert http.post("/admin/login/?next=/admin/", data=form).headers["location"] == "/admin/"
        assert http.get("/admin/").status_code == 200
    assert empty_house.end_process() == 0


def test_the_second_run_shows_no_secret(own_house, house_key):
    own_house.starts_cold = True
    said = own_house.start()
    models = httpx.get(
        f"{own_house.url}/v1/models", headers={"x-api-key": house_key}, trust_env=False
    )
    assert [entry["id"] for entry in models.json()["data"]] == ["echo", "m"]
    assert said.count("\n") == 1
    for secret in (house_key, "password", "API key", "sk-ps-", "curl"):
        assert secret not in said


# --- mistakes -------------------------------------------------------------------------------------
def one_line(house, *arguments):
    """What `serve` says when it refuses to; nothing but one line, and the exit status is 1."""
    before = len(house.output)
    house.launch_process(*arguments)
    assert house.wait_for_end() == 1
    said = house.output[before:].strip()
    assert said
    assert "\n" not in said, said
    return said


def test_a_taken_port_is_one_clear_line(own_house):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = one_line(own_house, "--port", str(port))
    assert str(port) in said
    assert "--port" in said


@pytest.mark.parametrize(
    "arguments",
    [("--port", "70000"), ("--host", "192.0.2.1", "--port", "0"), ("--host", "no..host")],
)
def test_an_impossible_address_is_one_clear_line(own_house, arguments):
    assert "Cannot listen" in one_line(own_house, *arguments)


def test_a_second_instance_on_one_home_is_one_clear_line(house):
    first = house.process
    try:
        said = one_line(house, "--port", "0")
    finally:
        house.process = first
    assert "Another instance" in said
    assert "PROXYSITE_HOME" in said
    assert httpx.get(f"{house.url}/readyz", trust_env=False).status_code == 200


def test_several_workers_need_postgres(own_house):
    own_house.environment["DATABASE_URL"] = ""
    assert "DATABASE_URL" in one_line(own_house, "--port", "0", "--workers", "2")


def test_a_database_that_does_not_answer_is_a_clear_word(own_house):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    own_house.environment["DATABASE_URL"] = f"postgres://nobody:canary@127.0.0.1:{port}/nothing"
    own_house.launch_process("--port", "0")
    assert own_house.wait_for_end() == 1
    assert "Traceback" not in own_house.output
    assert "canary" not in own_house.output
    assert "database" in own_house.output.lower()


# --- the end --------------------------------------------------------------------------------------
async def test_sigterm_closes_the_port_and_lets_a_stream_finish(running, house_key, house_upstream):
    gate = Gate()
    house_upstream.queue_scripts(
        send_stream(*speech.content_chunks("one"), gate, speech.chat_chunk(finish="stop"), DONE)
    )
    async with (
        client(running) as http,
        http.stream("POST", CHAT, **asked(house_key, stream=True)) as answer,
    ):
        pieces = answer.aiter_text()
        said = await anext(pieces)
        assert "one" in said
        running.send_signal(signal.SIGTERM)

        def closed():
            with socket.socket() as caller:
                return caller.connect_ex(("127.0.0.1", running.port)) != 0

        await wait_until_true(closed)
        assert running.process.poll() is None
        gate.open()
        said += "".join([piece async for piece in pieces])
        assert said.endswith("data: [DONE]\n\n")
    assert await asyncio.to_thread(running.wait_for_end) == 0
    assert running.run_sql("SELECT status FROM api_usagerecord") == [("complete",)]
    assert "Traceback" not in running.output


async def test_a_second_signal_does_not_wait(running, house_key, house_upstream):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("one"), Gate()))
    async with (
        client(running) as http,
        http.stream("POST", CHAT, **asked(house_key, stream=True)) as answer,
    ):
        pieces = answer.aiter_text()
        assert "one" in await anext(pieces)
        running.send_signal(signal.SIGTERM)
        await asyncio.sleep(1)  # two signals at the same time count as one
        assert running.process.poll() is None
        running.send_signal(signal.SIGTERM)
        await asyncio.to_thread(running.wait_for_end)


async def test_what_ran_when_the_process_was_killed_is_found_as_interrupted(
    running, house_key, house_upstream
):
    house_upstream.set_default_script(send_stream(*speech.content_chunks("one"), Gate()))
    assert await served(running, house_key)
    async with client(running) as http:
        streams = [http.stream("POST", CHAT, **asked(house_key, stream=True)) for _ in range(3)]
        pieces = [(await streaming.__aenter__()).aiter_text() for streaming in streams]
        assert all(["one" in await anext(piece) for piece in pieces])
        running.send_signal(signal.SIGKILL)
        await asyncio.to_thread(running.wait_for_end)
        for streaming, piece in zip(streams, pieces, strict=True):
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(piece)
            await streaming.__aexit__(None, None, None)
    await asyncio.to_thread(running.start)

    def found():
        return running.run_sql(
            "SELECT status, model, key_id IS NOT NULL FROM api_usagerecord ORDER BY id"
        )

    await wait_until_true(lambda: len(found()) == 4)
    assert [tuple(map(str, row[:2])) for row in found()] == [
        ("complete", "echo"),
        *[("interrupted", "m")] * 3,
    ]
    assert all(row[2] for row in found())
    assert await served(running, house_key)
    assert len(list((running.home / "journal").iterdir())) == 1  # that of the living process


# --- two processes, one truth ---------------------------------------------------------------------
async def test_a_key_revoked_by_a_command_stops_within_a_second(house, house_key):
    key = (await asyncio.to_thread(house.run_manage_command, "issue_key", "visitor")).splitlines()[
        -1
    ]
    assert await served(house, key)
    await asyncio.to_thread(house.run_manage_command, "revoke_key", key[:16])

    async def refused():
        return not await served(house, key)

    await wait_until_true(refused, 1.0)
    assert await served(house, house_key)


# --- secrets --------------------------------------------------------------------------------------
async def test_no_secret_is_in_the_log_or_in_the_clear_in_the_database(
    running, house_key, house_upstream
):
    house_upstream.queue_scripts(
        send_refusal(401, f"bad {UPSTREAM_TOKEN}"),
        send_refusal(500, f"oh {UPSTREAM_TOKEN}"),
        send_pieces(CUT),
        send_refusal(400, f"no {UPSTREAM_TOKEN}"),
    )
    async with client(running) as http:
        for streams in (False, True, False, True, True):
            await http.post(CHAT, **asked(house_key, stream=streams))
        await http.post(f"{CHAT}?api_key={house_key}", **asked("sk-ps-canary-of-a-wrong-key"))
        await http.get(f"/nothing/{house_key}")
    assert house_upstream.requests[0].bearer_token == UPSTREAM_TOKEN
    assert await asyncio.to_thread(running.end_process) == 0
    kept = await asyncio.to_thread(everything, running)
    for secret in (UPSTREAM_TOKEN, house_key, "canary of a prompt", "canary-of-a-wrong-key"):
        assert secret not in running.output, secret
        assert secret not in kept, secret


def everything(house):
    """All that the house keeps on disk and in its database, as text."""
    files = [
        path.read_bytes().decode("latin-1") for path in house.home.rglob("*") if path.is_file()
    ]
    tables = (
        "api_apikey",
        "api_usagerecord",
        "tokens_upstreamtoken",
        "providers_provider",
        "auth_user",
    )
    return "\n".join([*files, *(str(house.run_sql(f"SELECT * FROM {table}")) for table in tables)])
