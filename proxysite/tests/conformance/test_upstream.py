"""The faulty upstream over raw sockets: its faults, its log, its manners."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from proxysite.conformance.dialogue import ANSWER_TEXT
from proxysite.conformance.timings import PROFILES, read_timings
from proxysite.conformance.upstream import FaultyUpstream, normalize_model
from proxysite.testing import wait_until_true
from proxysite.testing.house import House


@pytest.fixture
async def wall() -> AsyncIterator[httpx.AsyncClient]:
    server = FaultyUpstream(profile="fast")
    port = await server.start()
    headers = {"authorization": "Bearer sk-canary"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False
    ) as client:
        yield client
    await server.stop()


async def ask(wall: httpx.AsyncClient, model: str, **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}], **fields}
    return await wall.post("/v1/chat/completions", json=body)


async def log_of(wall: httpx.AsyncClient) -> Any:
    return (await wall.get("/control/log")).json()["log"]


async def test_a_healthy_answer_is_whole_or_a_stream(wall: httpx.AsyncClient) -> None:
    whole = (await ask(wall, "fb-ok")).json()
    assert whole["choices"][0]["message"]["content"] == ANSWER_TEXT
    assert whole["usage"]["completion_tokens"] == 60
    streamed = await ask(wall, "fb-ok", stream=True, stream_options={"include_usage": True})
    *events, done = [line.removeprefix("data: ") for line in streamed.text.split("\n\n") if line]
    chunks = [json.loads(event) for event in events]
    assert done == "[DONE]"
    text = "".join(
        choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]
    )
    assert text == ANSWER_TEXT
    assert chunks[-1]["usage"]["completion_tokens"] == 60
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"


async def test_faults_that_pass_come_once_after_each_reset(wall: httpx.AsyncClient) -> None:
    for model, status in (("fb-s01", 429), ("fb-s03", 500)):
        for _ in range(2):
            await wall.post("/control/reset")
            first, second = await ask(wall, model), await ask(wall, model)
            assert (first.status_code, second.status_code) == (status, 200)
            assert [bool(one["fault"]) for one in await log_of(wall)] == [True, False]
    assert first.headers.get("retry-after") is None
    await wall.post("/control/reset")
    assert (await ask(wall, "fb-s01")).headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("fb-s02", 429, "rate_limit_exceeded"),
        ("fb-s04", 503, "overloaded"),
        ("fb-s12", 400, "context_length_exceeded"),
        ("fb-s13", 400, "content_policy_violation"),
        ("fb-s99", 404, "model_not_found"),
    ],
)
async def test_lasting_refusals_are_errors_of_openai_s_form(
    wall: httpx.AsyncClient, model: str, status: int, code: str
) -> None:
    for _ in range(2):
        refused = await ask(wall, model)
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)


async def test_connections_end_as_they_do_out_there(wall: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.ReadError):
        await ask(wall, "fb-s05")
    for stream in (True, False):
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(wall, "fb-s08", stream=stream)
    assert [one["fault"] for one in await log_of(wall)] == [
        "reset before the answer",
        *["cut in the middle"] * 2,
    ]


async def test_leaving_a_silent_upstream_is_noted(wall: httpx.AsyncClient) -> None:
    for model in ("fb-s06", "fb-s07", "fb-s09"):
        with pytest.raises(httpx.ReadTimeout):
            await wall.post(
                "/v1/chat/completions",
                json={"model": model, "messages": [], "stream": True},
                timeout=0.3,
            )

    async def are_noted() -> bool:
        return all(one["left_after"] for one in await log_of(wall))

    await wait_until_true(are_noted)


async def test_a_stream_lacks_one_event_or_its_done(wall: httpx.AsyncClient) -> None:
    garbled = (await ask(wall, "fb-s10", stream=True)).text
    events = [
        line.removeprefix("data: ")
        for line in garbled.split("\n\n")
        if line and "[DONE]" not in line
    ]
    broken = [event for event in events if not event.endswith("}")]
    assert len(broken) == 1
    assert "[DONE]" in garbled
    without = (await ask(wall, "fb-s11", stream=True)).text
    assert '"stop"' in without
    assert "[DONE]" not in without


async def test_the_log_has_no_credential_and_the_latest_requests(wall: httpx.AsyncClient) -> None:
    await wall.post("/control/reset")
    await ask(wall, "openai/fb-ok-noprefill")
    refused = await wall.post(
        "/v1/chat/completions",
        json={"model": "fb-ok-noprefill", "messages": [{"role": "assistant", "content": "A"}]},
        headers={"authorization": "Bearer sk-other"},
    )
    assert refused.status_code == 400
    first, second = await log_of(wall)
    assert (first["model"], first["attempt"], second["attempt"]) == ("fb-ok-noprefill", 1, 2)
    assert first["credential"] != second["credential"]
    assert "sk-canary" not in json.dumps([first, second])
    assert second["last_role"] == "assistant"
    assert first["at"] < second["at"]


async def test_it_takes_every_framing_of_http(wall: httpx.AsyncClient) -> None:
    body = json.dumps({"model": "fb-ok", "messages": []}).encode()
    reader, writer = await asyncio.open_connection(wall.base_url.host, wall.base_url.port)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: wall\r\n"
    writer.write(head + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body))
    assert b"100" in await reader.readuntil(b"\r\n\r\n")
    writer.write(body)
    assert b"200" in await reader.readuntil(b"\r\n\r\n")
    writer.write(head + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n")
    writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    async with asyncio.timeout(10):
        rest = await reader.read(-1)
    assert rest.count(b"HTTP/1.1 200") == 1
    assert rest.endswith(b"}")
    writer.close()


async def test_what_is_no_request_is_refused(wall: httpx.AsyncClient) -> None:
    assert (await wall.post("/v1/chat/completions", content=b"[]")).status_code == 400
    assert (await wall.get("/v1/nothing")).status_code == 404
    assert (await wall.post("/control/reset", json={"timings": {"naps": 1}})).status_code == 400
    assert (await wall.post("/control/reset", content=b"{")).status_code == 400
    listed = (await wall.get("/v1/models")).json()["data"]
    assert len(listed) == 18


def test_models_are_known_by_the_part_that_counts() -> None:
    for name in ("fb-s01", "FB-S01", "openai/fb-s01", "fb-s01-429-retry-after", "a/b/fb-s01-x"):
        assert normalize_model(name) == "fb-s01"
    assert normalize_model("fb-ok-noprefill") == "fb-ok-noprefill"


def test_timings_have_bounds() -> None:
    assert read_timings({}) == PROFILES["full"]
    for wrong in (
        {"stall_seconds": -1},
        {"stall_seconds": True},
        {"stall_seconds": "1"},
        {"other": 1},
    ):
        with pytest.raises(ValueError, match="no timing"):
            read_timings(wrong)


def test_commands_explain_what_they_cannot_do(empty_house: House) -> None:
    unreachable = ("conformance", "http://127.0.0.1:1/v1", "sk", "--wall", "http://127.0.0.1:1")
    assert empty_house.run_manage_command(*unreachable, status=2) == ""
    assert empty_house.run_manage_command(*unreachable, "--only", "S17", status=1) == ""
    assert empty_house.run_manage_command("faulty_upstream", "--port", "99999", status=1) == ""
