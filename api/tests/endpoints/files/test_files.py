"""/v1/files: files are stored, listed, read and deleted, each user his own."""

from datetime import UTC, datetime, timedelta

import openai
import pytest
from openai import AsyncOpenAI

from api.tests.endpoints.files.file_requests import (
    NOTES,
    ask_about,
    file_by_id,
    list_disk_files,
    store_file,
    upload_file,
)
from conversations.files import file_storage
from conversations.models import StoredFile
from providers.database.database_threads import run_in_thread


async def test_a_file_is_stored_listed_read_and_deleted(gateway, alice):
    answer = await upload_file(gateway, alice.key)
    assert answer.status == 200
    found = answer.json
    assert found["id"].startswith("file-")
    assert found["object"] == "file"
    assert (found["bytes"], found["filename"], found["purpose"]) == (
        len(NOTES),
        "notes.txt",
        "user_data",
    )
    assert found["status"] == "processed"
    assert not {"status_details", "expires_at"} & found.keys()  # absent, and never null
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
    assert list_disk_files() == []


async def test_nobody_sees_what_is_anothers(gateway, alice, mallory):
    file_id = await store_file(gateway, alice.key)
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
    file_id = await store_file(gateway, alice.key)
    alice.row.stores_content = False
    await run_in_thread(alice.row.save)
    await gateway.reload_rows()
    before = list_disk_files()
    answer = await upload_file(gateway, alice.key)
    assert (answer.status, answer.error["code"]) == (403, "storage_disabled")
    assert list_disk_files() == before
    assert (await gateway.send_request("DELETE", f"/v1/files/{file_id}", alice.key)).status == 200


async def test_a_list_comes_in_pages(gateway, alice):
    ids = [await store_file(gateway, alice.key, f"{at}.txt") for at in range(4)]
    other = await store_file(gateway, alice.key, "p.png", b"\x89PNG", "vision", "image/png")

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
    for wrong in ({"limit": "-1"}, {"limit": "x"}, {"limit": "10001"}, {"order": "up"}):
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
    assert (
        await gateway.request_chat(alice.key, messages=ask_about(file_by_id(found["id"])))
    ).error["code"] == "file_not_found"
    await run_in_thread(file_storage.delete_stale_files)
    assert list_disk_files() == []


async def test_bytes_that_are_not_in_this_home_are_our_fault(gateway, alice, caplog):
    file_id = await store_file(gateway, alice.key)
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
    await store_file(gateway, alice.key)
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
            await client.files.create(file=("a.jsonl", b"{}"), purpose="fine-tune-results")
