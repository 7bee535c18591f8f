"""Forms of relayed requests: their limits, and what is wrong with some."""

import asyncio

import pytest

from api.models import ApiKey
from api.tests.endpoints.relayed.relayed_requests import RECORDING, read_form, send_form
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import keep_silent, send_reply

TRANSCRIPTIONS = "/v1/audio/transcriptions"
PATHS = [TRANSCRIPTIONS, "/v1/audio/translations", "/v1/images/edits", "/v1/images/variations"]


async def send_raw(gateway, person, content, content_type, path=TRANSCRIPTIONS):
    """Send a body as it is."""
    headers = {"content-type": content_type}
    return await gateway.send_request("POST", path, person.key, content=content, headers=headers)


async def test_odd_names_arrive_as_they_are(gateway, upstream, alice):
    upstream.queue_scripts(send_reply({"text": ""}))
    name = 'ä "quoted"\r\nx.wav'
    files = [
        ("file", (name, RECORDING, "audio/wav")),
        ("empty", ("empty.bin", b"", "application/x-empty")),
    ]
    answer = await send_form(gateway, alice, files=files, prompt="a\r\nb--\0", temperature="0.2")
    assert answer.status == 200
    parts = {part[0]: part[1:] for part in read_form(upstream.requests[0])}
    assert parts["file"][1:] == ("audio/wav", RECORDING)
    assert parts["empty"] == ("empty.bin", "application/x-empty", b"")
    assert parts["prompt"] == (None, None, b"a\r\nb--\0")
    assert parts["model"] == (None, None, b"upstream-model")


@pytest.mark.parametrize("path", PATHS)
async def test_a_form_without_its_file_is_a_400(gateway, upstream, alice, path):
    files = {"elsewhere": ("a.bin", b"x", "audio/wav")}
    answer = await send_form(gateway, alice, path, files, prompt="x")
    param = "file" if "audio" in path else "image"
    assert (answer.status, answer.error["param"]) == (400, param)
    assert answer.error["code"] == "missing_required_parameter"
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b"x", "multipart/form-data", 400),
        (b"", "multipart/form-data; boundary=b", 400),
        (b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b', None, 400),
        (b"--b\r\n" * 3 + b"--b--", None, 400),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\n!!!\r\n--b--\r\n",
            None,
            400,
        ),
    ],
)
async def test_what_is_no_form_is_refused(gateway, upstream, alice, content, content_type, status):
    answer = await send_raw(
        gateway, alice, content, content_type or "multipart/form-data; boundary=b"
    )
    assert answer.status == status
    assert answer.error["type"] == "invalid_request_error"
    assert upstream.requests == []


async def test_too_many_files_are_refused(gateway, upstream, alice):
    files = [("file", (f"{number}.wav", b"x", "audio/wav")) for number in range(101)]
    answer = await send_form(gateway, alice, files=files)
    assert (answer.status, answer.error["code"]) == (400, "invalid_value")


@pytest.mark.settings(FORM_LIMIT_BYTES=100_000, BODY_LIMIT_BYTES=1_000)
async def test_forms_have_a_largest_size_of_their_own(gateway, upstream, alice):
    upstream.queue_scripts(send_reply({"text": ""}))
    small, large = ({"file": ("a.wav", bytes(size), "audio/wav")} for size in (90_000, 100_001))
    assert (await send_form(gateway, alice, files=small)).status == 200
    answer = await send_form(gateway, alice, files=large)
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert len(upstream.requests) == 1


@pytest.mark.settings(BODIES_DISK_BYTES=200_000)
async def test_forms_count_as_bodies_on_disk(gateway, upstream, alice):
    files = {"file": ("a.wav", bytes(300_000), "audio/wav")}
    answer = await send_form(gateway, alice, files=files)
    assert answer.status == 503
    assert upstream.requests == []


@pytest.mark.parametrize("path", PATHS)
async def test_a_form_needs_a_key_before_it_is_read(gateway, upstream, path):
    answer = await gateway.send_request(
        "POST", path, "sk-wrong", files={"file": ("a.wav", bytes(100_000), "audio/wav")}
    )
    assert answer.status == 401
    assert await rows.read_usage_records() == []


async def test_the_model_of_the_key_takes_the_place_of_a_missing_one(gateway, upstream, alice):
    answer = await send_form(gateway, alice, model=None)
    assert (answer.status, answer.error["param"]) == (400, "model")
    await run_in_thread(ApiKey.objects.filter(pk=alice.row.pk).update, default_model="m")
    await gateway.reload_rows()
    upstream.queue_scripts(send_reply({"text": "Hello."}))
    assert (await send_form(gateway, alice, model=None)).status == 200
    assert ("model", None, None, b"upstream-model") in read_form(upstream.requests[0])


async def test_a_caller_who_leaves_before_the_answer_ends_the_call(gateway, upstream, alice):
    upstream.queue_scripts(keep_silent)
    files = {"file": ("a.wav", bytes(3_000_000), "audio/wav")}
    running = asyncio.create_task(send_form(gateway, alice, files=files))
    exchange = await upstream.wait_for_request()
    assert gateway.body_budget.disk_bytes > 3_000_000
    running.cancel()
    await exchange.wait_until_left()
    await wait_until_true(lambda: not gateway.request_tasks)
    assert gateway.body_budget.disk_bytes == 0
    row = (await wait_until_true(rows.read_usage_records))[0]
    assert (row.status, row.attempts[0]["units"]) == ("abandoned", {"lacks_seconds": True})
