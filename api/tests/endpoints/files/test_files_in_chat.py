"""Files in chat: as text for most upstreams, whole for those that take them."""

import json
from base64 import b64encode

import pytest

from api.tests.endpoints.files.file_requests import (
    NOTES,
    ask_about,
    file_by_id,
    list_disk_files,
    store_file,
    upload_file,
)
from conversations.models import StoredFile
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel
from proxysite.testing import rows, speech
from proxysite.testing.upstream import send_reply


# --- the door -------------------------------------------------------------------------------------
@pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=0.3)
async def test_files_do_not_hang_on_a_frozen_database(database_proxy, gateway, upstream, alice):
    file_id = await store_file(gateway, alice.key)
    assert (await gateway.request_chat(alice.key)).status == 200
    with database_proxy.freeze_traffic():
        answers = [
            await upload_file(gateway, alice.key),
            await gateway.send_request("GET", f"/v1/files/{file_id}/content", alice.key),
            await gateway.request_chat(alice.key, messages=ask_about(file_by_id(file_id))),
        ]
    for answer in answers:
        assert (answer.status, answer.error["code"]) == (503, "database_unavailable")


# --- in chat --------------------------------------------------------------------------------------
def inline_file(data=NOTES, filename="notes.txt", head="data:text/plain;base64,"):
    return {
        "type": "file",
        "file": {"filename": filename, "file_data": head + b64encode(data).decode()},
    }


async def set_file_capabilities(gateway, *capabilities):
    await run_in_thread(ChatModel.objects.update, capabilities=["chat", "files", *capabilities])
    await gateway.reload_rows()


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_a_stored_file_becomes_text_for_an_upstream_that_takes_none(
    gateway, upstream, alice, streams
):
    file_id = await store_file(gateway, alice.key)
    answer = await gateway.request_chat(
        alice.key, messages=ask_about(file_by_id(file_id)), stream=streams
    )
    assert answer.status == 200
    first, second = upstream.requests[0].json["messages"][0]["content"]
    assert first == {"type": "text", "text": "What is this?"}
    assert second.keys() == {"type", "text"}
    assert second["type"] == "text"
    assert "notes.txt" in second["text"]
    assert NOTES.decode() in second["text"]


async def test_a_file_in_the_request_becomes_text_too(gateway, upstream, alice):
    for part in (inline_file(), inline_file(head=""), inline_file(filename=None)):
        assert (await gateway.request_chat(alice.key, messages=ask_about(part))).status == 200
        assert NOTES.decode() in upstream.requests[-1].json["messages"][0]["content"][1]["text"]
    assert list_disk_files() == []


async def test_an_upstream_that_takes_files_gets_them_whole(gateway, upstream, alice):
    await set_file_capabilities(gateway)
    file_id = await store_file(gateway, alice.key)
    binary = inline_file(b"\0\1\2", "sheet.xlsx", "data:application/x-sheet;base64,")
    assert (
        await gateway.request_chat(alice.key, messages=ask_about(file_by_id(file_id), binary))
    ).status == 200
    _, mine, other = upstream.requests[0].json["messages"][0]["content"]
    assert mine == inline_file()
    assert other == binary


async def test_a_callers_own_text_beside_a_file_counts_for_nothing(gateway, upstream, alice):
    part = inline_file() | {"text": "forged"}
    await gateway.request_chat(alice.key, messages=ask_about(part))
    assert "forged" not in json.dumps(upstream.requests[0].json)


async def test_a_file_that_is_not_the_callers_is_none(gateway, upstream, alice, mallory):
    file_id = await store_file(gateway, alice.key)
    for wrong in (file_id, "file-unknown", "x\u0001"):
        answer = await gateway.request_chat(mallory.key, messages=ask_about(file_by_id(wrong)))
        assert (answer.status, answer.error["code"]) == (400, "file_not_found")
        assert answer.error["param"] == "messages[0].content[1].file.file_id"
    assert upstream.requests == []


async def test_a_part_that_gives_no_file_is_refused(gateway, upstream, alice, subtests):
    cases = [
        {},
        {"file_id": 1},
        {"file_id": ""},
        {"filename": "a.txt"},
        {"file_data": "data:text/plain;base64,%%%", "filename": "a.txt"},
        {"file_data": "data:text/plain,hello", "filename": "a.txt"},
        {"file_id": "file-1", "file_data": "YQ=="},
        {"file_data": ["YQ=="]},
    ]
    for file in cases:
        with subtests.test(file=file):
            answer = await gateway.request_chat(
                alice.key, messages=ask_about({"type": "file", "file": file})
            )
            assert answer.status == 400
            assert answer.error["param"].startswith("messages[0].content[1].file")
            assert upstream.requests == []


@pytest.mark.settings(FILE_TEXT_CHARS=50, UNFITTED_TEXT_CHARS=50)
async def test_text_that_is_too_long_is_refused_and_not_cut(gateway, upstream, alice):
    for parts in ([inline_file(b"x" * 51)], [inline_file(b"x" * 30), inline_file(b"y" * 30)]):
        answer = await gateway.request_chat(alice.key, messages=ask_about(*parts))
        assert answer.status == 400
        assert "50" in answer.error["message"]
        assert answer.error["param"].startswith("messages")
    assert (
        await gateway.request_chat(alice.key, messages=ask_about(inline_file(b"x" * 30)))
    ).status == 200
    assert len(upstream.requests) == 1


async def test_a_file_that_cannot_be_read_is_refused_with_the_reason(gateway, upstream, alice):
    broken = await store_file(
        gateway, alice.key, "broken.pdf", b"%PDF-1.7 nonsense", content_type="application/pdf"
    )
    row = await run_in_thread(StoredFile.objects.get, pk=broken)
    assert (row.status, bool(row.reason)) == ("error", True)
    for part in (
        file_by_id(broken),
        inline_file(b"\0\1", "a.exe"),
        inline_file(b"PK\3\4", "a.docx"),
    ):
        answer = await gateway.request_chat(alice.key, messages=ask_about(part))
        assert (answer.status, answer.error["code"]) == (400, "unreadable_file")
        assert answer.error["param"] == "messages[0].content[1].file"
    assert upstream.requests == []


async def test_an_image_goes_up_as_an_image_however_it_came(gateway, upstream, alice):
    picture = await store_file(gateway, alice.key, "p.png", b"\x89PNG", content_type="image/png")
    url = "data:image/png;base64,iVBORw=="
    for part in (file_by_id(picture), inline_file(b"\x89PNG", "p.png")):
        assert (await gateway.request_chat(alice.key, messages=ask_about(part))).status == 200
        sent = upstream.last_exchange.request.json["messages"][0]["content"][1]
        assert sent["type"] == "image_url"
        assert sent["image_url"]["url"].partition(",")[2] == url.partition(",")[2]
    item = {"type": "input_image", "file_id": picture, "detail": "low"}
    body = {"model": "m", "input": [{"role": "user", "content": [item]}]}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    assert answer.status == 200
    assert upstream.last_exchange.request.json["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    ]


async def test_the_upstream_that_takes_files_answers_when_there_is_no_text(
    gateway, upstream, second, alice
):
    other, row = second
    await run_in_thread(
        ChatModel.objects.filter(provider=row).update, capabilities=["chat", "files"]
    )
    await gateway.reload_rows()
    binary = inline_file(b"\0\1\2", "sheet.xlsx")
    assert (await gateway.request_chat(alice.key, messages=ask_about(binary))).status == 200
    assert (len(upstream.requests), len(other.requests)) == (0, 1)
    assert (await gateway.request_chat(alice.key, messages=ask_about(inline_file()))).status == 200
    assert "42" in upstream.requests[0].json["messages"][0]["content"][1]["text"]


async def test_too_many_files_in_one_request_are_refused(gateway, upstream, alice):
    assert (
        await gateway.request_chat(alice.key, messages=ask_about(*[inline_file()] * 21))
    ).status == 400
    assert (
        await gateway.request_chat(alice.key, messages=ask_about(*[inline_file()] * 20))
    ).status == 200


@pytest.mark.settings(FILE_LIMIT_BYTES=1_000)
async def test_one_file_named_often_does_not_become_a_flood(gateway, upstream, alice):
    await set_file_capabilities(gateway)
    file_id = await store_file(gateway, alice.key, data=b"x" * 600)
    answer = await gateway.request_chat(
        alice.key, messages=ask_about(file_by_id(file_id), file_by_id(file_id))
    )
    assert (answer.status, answer.error["code"]) == (400, "files_too_large")
    assert upstream.requests == []


async def test_the_text_of_a_file_is_counted_when_the_upstream_does_not(
    gateway, upstream, alice, provider
):
    upstream.queue_scripts(send_reply(speech.chat_completion(usage=None)))
    await gateway.request_chat(alice.key, messages=ask_about(inline_file(b"word " * 1000)))
    assert (await rows.read_only_usage_record()).prompt_tokens > 1000
