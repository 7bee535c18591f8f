"""/v1/files: multipart in, JSON out, each user his own; and files in chat."""

import asyncio
import hashlib
import json
import os
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import openai
import pytest
from django.conf import settings as django_settings
from openai import AsyncOpenAI

from conversations.files import file_storage
from conversations.models import StoredFile
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.upstream import send_reply

NOTES = "Grüße aus Graz.\nThe answer is 42.\n".encode()


def on_disk():
    return sorted(path.name for path in file_storage.find_files_folder().iterdir())


@pytest.fixture(autouse=True)
def _empty_shelf():
    for path in file_storage.find_files_folder().iterdir():
        path.unlink()


async def put(
    gateway, key, name="notes.txt", data=NOTES, purpose="user_data", content_type="text/plain"
):
    form = {"purpose": purpose} if purpose is not None else {}
    return await gateway.send_request(
        "POST", "/v1/files", key, files={"file": (name, data, content_type)}, data=form
    )


async def stored(gateway, key, *args, **kwargs):
    answer = await put(gateway, key, *args, **kwargs)
    assert answer.status == 200, answer.body
    return answer.json["id"]


# --- the door -------------------------------------------------------------------------------------
async def test_a_file_is_stored_listed_read_and_deleted(gateway, alice):
    answer = await put(gateway, alice.key)
    assert answer.status == 200
    found = answer.json
    assert found["id"].startswith("file-")
    assert found["object"] == "file"
    assert (found["bytes"], found["filename"], found["purpose"]) == (
        len(NOTES),
        "notes.txt",
        "user_data",
    )
    assert (found["status"], found["status_details"]) == ("processed", None)
    assert answer.headers["x-request-id"].startswith("req_")
    address = f"/v1/files/{found['id']}"
    assert (await gateway.send_request("GET", address, alice.key)).json == found
    assert (await gateway.send_request("GET", "/v1/files", alice.key)).json["data"] == [found]
    content = await gateway.send_request("GET", f"{address}/content", alice.key)
    assert (content.status, content.body) == (200, NOTES)
    assert content.headers["content-type"] == "application/octet-stream"
    assert content.headers["content-disposition"].startswith("attachment")
    gone = await gateway.send_request("DELETE", address, alice.key)
    assert gone.json == {"id": found["id"], "object": "file", "deleted": True}
    assert (await gateway.send_request("GET", address, alice.key)).status == 404
    assert (await gateway.send_request("GET", "/v1/files", alice.key)).json["data"] == []
    assert on_disk() == []


async def test_nobody_sees_what_is_anothers(gateway, alice, mallory):
    file_id = await stored(gateway, alice.key)
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        theirs = await gateway.send_request(method, f"/v1/files/{file_id}{path}", mallory.key)
        unknown = await gateway.send_request(
            method, f"/v1/files/file-{'0' * 32}{path}", mallory.key
        )
        assert theirs.status == unknown.status == 404
        assert theirs.error["code"] == unknown.error["code"] == "file_not_found"
        assert theirs.error["message"].replace(file_id, "") == unknown.error["message"].replace(
            f"file-{'0' * 32}", ""
        )
    assert (await gateway.send_request("GET", "/v1/files", mallory.key)).json["data"] == []
    assert (
        await gateway.send_request("GET", "/v1/files", mallory.key, params={"after": file_id})
    ).status == 404
    assert (await gateway.send_request("GET", f"/v1/files/{file_id}", alice.key)).status == 200


async def test_an_odd_id_is_no_file(gateway, alice, subtests):
    cases = ["../../etc/passwd", "x" * 3000, "FILE-" + "0" * 32, "file-" + "٣" * 32]
    for name in cases:
        with subtests.test(name=name):
            answer = await gateway.send_request("GET", f"/v1/files/{name}", alice.key)
            assert answer.status == 404
            assert answer.error["type"] == "invalid_request_error"


async def test_a_key_that_stores_nothing_stores_no_file(gateway, alice):
    file_id = await stored(gateway, alice.key)
    alice.row.stores_content = False
    await run_in_thread(alice.row.save)
    await gateway.reload_rows()
    before = on_disk()
    answer = await put(gateway, alice.key)
    assert (answer.status, answer.error["code"]) == (403, "storage_disabled")
    assert on_disk() == before
    assert (await gateway.send_request("DELETE", f"/v1/files/{file_id}", alice.key)).status == 200


async def test_without_a_key_nothing_is_stored(gateway, alice):
    for key in (None, "sk-ps-unknown"):
        answer = await put(gateway, key)
        assert answer.status == 401
        assert answer.error["code"] == "invalid_api_key"
    assert on_disk() == []


async def test_nobody_unknown_can_fill_the_disk(gateway, alice):
    for key in (b"sk-ps-unknown", alice.key.encode() + b"x", b"", b"\xff"):
        head = b"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %b\r\n" % key
        head += b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n"
        async with gateway.open_bare_connection() as wire:
            await wire.send(head)
            answer = await wire.receive_answer()
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


async def test_an_upload_whose_caller_leaves_is_forgotten(gateway, alice):
    async with gateway.open_bare_connection() as wire:
        head = (
            f"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {alice.key}\r\n"
        )
        await wire.send(f"{head}Content-Length: 9000000\r\n\r\n".encode() + b"x" * 4_000_000)
    await wait_until_true(lambda: gateway.connection_count <= 1)
    assert on_disk() == []
    assert (await put(gateway, alice.key)).status == 200


@pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=0.3)
async def test_files_do_not_hang_on_a_frozen_database(database_proxy, gateway, upstream, alice):
    file_id = await stored(gateway, alice.key)
    assert (await gateway.request_chat(alice.key)).status == 200
    with database_proxy.freeze_traffic():
        answers = [
            await put(gateway, alice.key),
            await gateway.send_request("GET", f"/v1/files/{file_id}/content", alice.key),
            await gateway.request_chat(alice.key, messages=asking(by_id(file_id))),
        ]
    for answer in answers:
        assert (answer.status, answer.error["code"]) == (503, "database_unavailable")


async def test_a_form_that_lacks_something_names_it(gateway, alice):
    lacking = await put(gateway, alice.key, purpose=None)
    assert (lacking.status, lacking.error["param"]) == (400, "purpose")
    other = {"other": ("a.txt", b"a")}
    lacking = await gateway.send_request(
        "POST", "/v1/files", alice.key, files=other, data={"purpose": "user_data"}
    )
    assert (lacking.status, lacking.error["param"]) == (400, "file")
    fields = {"purpose": (None, "user_data"), "file": (None, "a")}
    text = await gateway.send_request("POST", "/v1/files", alice.key, files=fields)
    assert (text.status, text.error["param"]) == (400, "file")
    wrong = await put(gateway, alice.key, purpose="batch")
    assert (wrong.status, wrong.error["param"]) == (400, "purpose")
    assert on_disk() == []


async def test_what_is_no_form_is_refused(gateway, alice, subtests):
    cases = [
        ("application/json", b"{}", 415),
        ("text/plain", b"file", 415),
        ("multipart/form-data", b"no boundary", 400),
        ("multipart/form-data; boundary=x", b"nothing of a form", 400),
        ("multipart/form-data; boundary=x", b"", 400),
    ]
    for content_type, body, status in cases:
        with subtests.test(content_type=content_type, body=body, status=status):
            headers = {"content-type": content_type}
            answer = await gateway.send_request(
                "POST", "/v1/files", alice.key, content=body, headers=headers
            )
            assert answer.status == status
            assert answer.error["type"] == "invalid_request_error"


async def test_a_type_that_is_not_taken_is_refused_and_nothing_is_kept(gateway, alice):
    for name in ("virus.exe", "archive.zip", "sheet.xlsx", "noending", "a.txt.bin"):
        answer = await put(gateway, alice.key, name, content_type="application/octet-stream")
        assert (answer.status, answer.error["param"], answer.error["code"]) == (
            400,
            "file",
            "unsupported_file",
        ), name
    assert on_disk() == []


async def test_a_name_is_a_name_and_no_path(gateway, alice):
    for name, shown in (
        ("../../x/notes.txt", "notes.txt"),
        ("c:\\x\\ü.md", "ü.md"),
        ("n" * 400 + ".txt", None),
    ):
        found = (await put(gateway, alice.key, name)).json
        assert "/" not in found["filename"]
        assert shown in (None, found["filename"])
        assert len(found["filename"]) <= 255


@pytest.mark.settings(FILE_LIMIT_BYTES=100_000)
async def test_a_file_has_a_size_it_may_not_exceed(gateway, alice):
    assert (await put(gateway, alice.key, data=b"x" * 100_000)).status == 200
    for size in (100_001, 1_000_000):
        answer = await put(gateway, alice.key, data=b"x" * size)
        assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert len(on_disk()) == 2


@pytest.mark.settings(FILE_LIMIT_BYTES=100_000)
async def test_a_form_without_a_length_is_bounded_too(gateway, alice):
    lines = f"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {alice.key}\r\n"
    lines += "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with gateway.open_bare_connection() as wire:
        await wire.send(lines.encode())
        for _ in range(6):
            await wire.send(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        answer = await wire.receive_answer()
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert on_disk() == []


async def test_a_file_larger_than_a_chat_body_is_taken_and_given_back(gateway, alice):
    data = b"0123456789abcde\n" * (4 * 2**16)
    assert len(data) > 2 * django_settings.BODY_LIMIT_BYTES
    found = (await put(gateway, alice.key, "big.log", data)).json
    assert (found["bytes"], found["status"]) == (len(data), "error")
    assert "characters" in found["status_details"]
    content = await gateway.send_request("GET", f"/v1/files/{found['id']}/content", alice.key)
    assert hashlib.sha256(content.body).digest() == hashlib.sha256(data).digest()
    assert content.headers["content-length"] == str(len(data))
    assert os.listdir(django_settings.FILE_UPLOAD_TEMP_DIR) == []


@pytest.mark.settings(FILES_PER_USER=2)
async def test_a_user_has_so_many_files_and_others_are_not_counted(gateway, alice, mallory):
    first = await stored(gateway, alice.key)
    await stored(gateway, alice.key)
    answer = await put(gateway, alice.key)
    assert (answer.status, answer.error["code"]) == (400, "too_many_files")
    await stored(gateway, mallory.key)
    await gateway.send_request("DELETE", f"/v1/files/{first}", alice.key)
    await stored(gateway, alice.key)


@pytest.mark.settings(FILES_BYTES_PER_USER=100)
async def test_a_users_files_have_so_much_room(gateway, alice):
    await stored(gateway, alice.key, data=b"x" * 60)
    assert (await put(gateway, alice.key, data=b"x" * 60)).error["code"] == "too_many_files"
    await stored(gateway, alice.key, data=b"x" * 40)
    assert len(on_disk()) == 4


async def test_a_list_comes_in_pages(gateway, alice):
    ids = [await stored(gateway, alice.key, f"{at}.txt") for at in range(4)]
    other = await stored(gateway, alice.key, "p.png", b"\x89PNG", "vision", "image/png")

    async def page(**params):
        return (await gateway.send_request("GET", "/v1/files", alice.key, params=params)).json

    assert [file["id"] for file in (await page())["data"]] == [other, *reversed(ids)]
    first = await page(limit=3, order="asc")
    assert [file["id"] for file in first["data"]] == ids[:3]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, ids[0], ids[2])
    rest = await page(limit=3, order="asc", after=first["last_id"])
    assert [file["id"] for file in rest["data"]] == [ids[3], other]
    assert rest["has_more"] is False
    assert [file["id"] for file in (await page(after=ids[1]))["data"]] == [ids[0]]
    assert [file["id"] for file in (await page(purpose="vision"))["data"]] == [other]
    assert (await page(purpose="batch"))["data"] == []
    for wrong in ({"limit": "0"}, {"limit": "x"}, {"limit": "10001"}, {"order": "up"}):
        answer = await gateway.send_request("GET", "/v1/files", alice.key, params=wrong)
        assert (answer.status, answer.error["param"]) == (400, next(iter(wrong)))


async def test_a_file_may_expire(gateway, upstream, alice):
    async def put_for(seconds, anchor="created_at"):
        form = {
            "purpose": "user_data",
            "expires_after[anchor]": anchor,
            "expires_after[seconds]": seconds,
        }
        return await gateway.send_request(
            "POST", "/v1/files", alice.key, files={"file": ("a.txt", b"a")}, data=form
        )

    for wrong in (("10",), ("x",), ("99999999",), ("3600", "later")):
        answer = await put_for(*wrong)
        assert (answer.status, answer.error["param"].partition(".")[0]) == (400, "expires_after")
    found = (await put_for("3600")).json
    assert found["expires_at"] - found["created_at"] in (3600, 3601)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await run_in_thread(StoredFile.objects.update, expires_at=past)
    for path in (f"/{found['id']}", f"/{found['id']}/content"):
        assert (await gateway.send_request("GET", f"/v1/files{path}", alice.key)).status == 404
    assert (await gateway.send_request("GET", "/v1/files", alice.key)).json["data"] == []
    assert (await gateway.request_chat(alice.key, messages=asking(by_id(found["id"])))).error[
        "code"
    ] == "file_not_found"
    await run_in_thread(file_storage.delete_stale_files)
    assert on_disk() == []


async def test_bytes_that_are_not_in_this_home_are_our_fault(gateway, alice, caplog):
    file_id = await stored(gateway, alice.key)
    file_storage.remove_file_bytes(file_id)
    answer = await gateway.send_request("GET", f"/v1/files/{file_id}/content", alice.key)
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    caplog.clear()


async def test_other_methods_are_refused(gateway, alice):
    for method, path in (
        ("PUT", "/v1/files"),
        ("POST", "/v1/files/file-1"),
        ("DELETE", "/v1/files/file-1/content"),
    ):
        assert (await gateway.send_request(method, path, alice.key)).status == 405


async def test_files_may_be_read_by_nobody_else_on_the_machine(gateway, alice):
    await stored(gateway, alice.key)
    assert {path.stat().st_mode & 0o777 for path in file_storage.find_files_folder().iterdir()} == {
        0o600
    }
    assert file_storage.find_files_folder().stat().st_mode & 0o777 == 0o700


async def test_the_official_client_stores_lists_reads_and_deletes(gateway, alice):
    async with AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=alice.key, max_retries=0
    ) as client:
        made = await client.files.create(file=("notes.txt", NOTES), purpose="user_data")
        assert (made.filename, made.bytes, made.status) == (
            "notes.txt",
            len(NOTES),
            "processed",
        )
        more = await client.files.create(file=("b.pdf", b"%PDF-"), purpose="assistants")
        assert more.status == "error"
        assert await client.files.retrieve(made.id) == made
        assert [file.id async for file in client.files.list(limit=1)] == [more.id, made.id]
        assert (await client.files.content(made.id)).content == NOTES
        parts = [
            {"type": "text", "text": "What is this?"},
            {"type": "file", "file": {"file_id": made.id}},
        ]
        answer = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": parts}]
        )
        assert answer.choices[0].message.content == "Hello there!"
        assert (await client.files.delete(made.id)).deleted
        with pytest.raises(openai.NotFoundError) as caught:
            await client.files.retrieve(made.id)
        assert (caught.value.code, caught.value.param) == ("file_not_found", "id")
        with pytest.raises(openai.BadRequestError):
            await client.files.create(file=("a.jsonl", b"{}"), purpose="fine-tune")


# --- in chat --------------------------------------------------------------------------------------
def asking(*parts):
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


def by_id(file_id):
    return {"type": "file", "file": {"file_id": file_id}}


def inline(data=NOTES, filename="notes.txt", head="data:text/plain;base64,"):
    return {
        "type": "file",
        "file": {"filename": filename, "file_data": head + b64encode(data).decode()},
    }


async def takes_files(gateway, *capabilities):
    await run_in_thread(ChatModel.objects.update, capabilities=["chat", "files", *capabilities])
    await gateway.reload_rows()


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_a_stored_file_becomes_text_for_an_upstream_that_takes_none(
    gateway, upstream, alice, streams
):
    file_id = await stored(gateway, alice.key)
    answer = await gateway.request_chat(alice.key, messages=asking(by_id(file_id)), stream=streams)
    assert answer.status == 200
    first, second = upstream.requests[0].json["messages"][0]["content"]
    assert first == {"type": "text", "text": "What is this?"}
    assert second.keys() == {"type", "text"}
    assert second["type"] == "text"
    assert "notes.txt" in second["text"]
    assert NOTES.decode() in second["text"]


async def test_a_file_in_the_request_becomes_text_too(gateway, upstream, alice):
    for part in (inline(), inline(head=""), inline(filename=None)):
        assert (await gateway.request_chat(alice.key, messages=asking(part))).status == 200
        assert NOTES.decode() in upstream.requests[-1].json["messages"][0]["content"][1]["text"]
    assert on_disk() == []


async def test_an_upstream_that_takes_files_gets_them_whole(gateway, upstream, alice):
    await takes_files(gateway)
    file_id = await stored(gateway, alice.key)
    binary = inline(b"\0\1\2", "sheet.xlsx", "data:application/x-sheet;base64,")
    assert (
        await gateway.request_chat(alice.key, messages=asking(by_id(file_id), binary))
    ).status == 200
    _, mine, other = upstream.requests[0].json["messages"][0]["content"]
    assert mine == inline()
    assert other == binary


async def test_a_callers_own_text_beside_a_file_counts_for_nothing(gateway, upstream, alice):
    part = inline() | {"text": "forged"}
    await gateway.request_chat(alice.key, messages=asking(part))
    assert "forged" not in json.dumps(upstream.requests[0].json)


async def test_a_file_that_is_not_the_callers_is_none(gateway, upstream, alice, mallory):
    file_id = await stored(gateway, alice.key)
    for wrong in (file_id, "file-unknown", "x\u0001"):
        answer = await gateway.request_chat(mallory.key, messages=asking(by_id(wrong)))
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
                alice.key, messages=asking({"type": "file", "file": file})
            )
            assert answer.status == 400
            assert answer.error["param"].startswith("messages[0].content[1].file")
            assert upstream.requests == []


@pytest.mark.settings(FILE_TEXT_CHARS=50, UNFITTED_TEXT_CHARS=50)
async def test_text_that_is_too_long_is_refused_and_not_cut(gateway, upstream, alice):
    for parts in ([inline(b"x" * 51)], [inline(b"x" * 30), inline(b"y" * 30)]):
        answer = await gateway.request_chat(alice.key, messages=asking(*parts))
        assert answer.status == 400
        assert "50" in answer.error["message"]
        assert answer.error["param"].startswith("messages")
    assert (await gateway.request_chat(alice.key, messages=asking(inline(b"x" * 30)))).status == 200
    assert len(upstream.requests) == 1


async def test_a_file_that_cannot_be_read_is_refused_with_the_reason(gateway, upstream, alice):
    broken = await stored(
        gateway, alice.key, "broken.pdf", b"%PDF-1.7 nonsense", content_type="application/pdf"
    )
    picture = await stored(gateway, alice.key, "p.png", b"\x89PNG", content_type="image/png")
    row = await run_in_thread(StoredFile.objects.get, pk=broken)
    assert (row.status, bool(row.reason)) == ("error", True)
    for part in (
        by_id(broken),
        by_id(picture),
        inline(b"\0\1", "a.exe"),
        inline(b"PK\3\4", "a.docx"),
    ):
        answer = await gateway.request_chat(alice.key, messages=asking(part))
        assert (answer.status, answer.error["code"]) == (400, "unreadable_file")
        assert answer.error["param"] == "messages[0].content[1].file"
    assert upstream.requests == []


async def test_the_upstream_that_takes_files_answers_when_there_is_no_text(
    gateway, upstream, second, alice
):
    other, row = second
    await run_in_thread(
        ChatModel.objects.filter(provider=row).update, capabilities=["chat", "files"]
    )
    await gateway.reload_rows()
    binary = inline(b"\0\1\2", "sheet.xlsx")
    assert (await gateway.request_chat(alice.key, messages=asking(binary))).status == 200
    assert (len(upstream.requests), len(other.requests)) == (0, 1)
    assert (await gateway.request_chat(alice.key, messages=asking(inline()))).status == 200
    assert "42" in upstream.requests[0].json["messages"][0]["content"][1]["text"]


async def test_too_many_files_in_one_request_are_refused(gateway, upstream, alice):
    assert (await gateway.request_chat(alice.key, messages=asking(*[inline()] * 21))).status == 400
    assert (await gateway.request_chat(alice.key, messages=asking(*[inline()] * 20))).status == 200


@pytest.mark.settings(FILE_LIMIT_BYTES=1_000)
async def test_one_file_named_often_does_not_become_a_flood(gateway, upstream, alice):
    await takes_files(gateway)
    file_id = await stored(gateway, alice.key, data=b"x" * 600)
    answer = await gateway.request_chat(alice.key, messages=asking(by_id(file_id), by_id(file_id)))
    assert (answer.status, answer.error["code"]) == (400, "files_too_large")
    assert upstream.requests == []


async def test_the_text_of_a_file_is_counted_when_the_upstream_does_not(
    gateway, upstream, alice, provider
):
    upstream.queue_scripts(send_reply(speech.chat_completion(usage=None)))
    await gateway.request_chat(alice.key, messages=asking(inline(b"word " * 1000)))
    assert (await rows.read_only_usage_record()).prompt_tokens > 1000


async def test_uploads_at_the_same_time_do_not_exceed_what_a_user_may_have(
    gateway, alice, settings
):
    settings.FILES_PER_USER = 3
    settings.UPLOADS_PER_USER = 6
    answers = await asyncio.gather(*(put(gateway, alice.key) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [200] * 3 + [400] * 3
    assert len(on_disk()) == 6


@pytest.mark.settings(UPLOADS_PER_USER=1)
async def test_uploads_on_their_way_are_bounded(gateway, alice, mallory):
    head = (
        "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n"
        "Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 1000\r\n\r\n--B"
    )
    async with (
        gateway.open_bare_connection() as one,
        gateway.open_bare_connection() as two,
        gateway.open_bare_connection() as other,
    ):
        await one.send(head.format(alice.key).encode())
        await wait_until_true(
            lambda: gateway._application.django_handler._uploads._count_by_user[alice.user.pk] == 1
        )
        await two.send(head.format(alice.key).encode())
        assert (await two.receive_answer()).status == 503
        await other.send(head.format(mallory.key).encode())
        await wait_until_true(
            lambda: (
                gateway._application.django_handler._uploads._count_by_user[mallory.user.pk] == 1
            )
        )
    await wait_until_true(lambda: not gateway._application.django_handler._uploads._count_by_user)
