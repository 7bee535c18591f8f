"""How large files may be, how many, and how many may come at once."""

import asyncio
import hashlib
import os

import pytest
from django.conf import settings as django_settings

from api.tests.endpoints.files.file_requests import list_disk_files, store_file, upload_file
from proxysite.testing import wait_until_true


# --- the door -------------------------------------------------------------------------------------
@pytest.mark.settings(FILE_LIMIT_BYTES=100_000)
async def test_a_file_has_a_size_it_may_not_exceed(gateway, alice):
    assert (await upload_file(gateway, alice.key, data=b"x" * 100_000)).status == 200
    for size in (100_001, 1_000_000):
        answer = await upload_file(gateway, alice.key, data=b"x" * size)
        assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert len(list_disk_files()) == 2


@pytest.mark.settings(FILE_LIMIT_BYTES=100_000, BATCH_FILE_BYTES=100_000)
async def test_a_form_without_a_length_is_bounded_too(gateway, alice):
    lines = f"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {alice.key}\r\n"
    lines += "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with gateway.open_bare_connection() as wire:
        await wire.send(lines.encode())
        for _ in range(6):
            await wire.send(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        answer = await wire.receive_answer()
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert list_disk_files() == []


async def test_a_file_larger_than_a_chat_body_is_taken_and_given_back(gateway, alice):
    data = b"0123456789abcde\n" * (4 * 2**16)
    assert len(data) > 2 * django_settings.BODY_LIMIT_BYTES
    found = (await upload_file(gateway, alice.key, "big.log", data)).json
    assert (found["bytes"], found["status"]) == (len(data), "error")
    assert "characters" in found["status_details"]
    content = await gateway.send_request("GET", f"/v1/files/{found['id']}/content", alice.key)
    assert hashlib.sha256(content.body).digest() == hashlib.sha256(data).digest()
    assert content.headers["content-length"] == str(len(data))
    assert os.listdir(django_settings.FILE_UPLOAD_TEMP_DIR) == []


@pytest.mark.settings(FILES_PER_USER=2)
async def test_a_user_has_so_many_files_and_others_are_not_counted(gateway, alice, mallory):
    first = await store_file(gateway, alice.key)
    await store_file(gateway, alice.key)
    answer = await upload_file(gateway, alice.key)
    assert (answer.status, answer.error["code"]) == (400, "too_many_files")
    await store_file(gateway, mallory.key)
    await gateway.send_request("DELETE", f"/v1/files/{first}", alice.key)
    await store_file(gateway, alice.key)


@pytest.mark.settings(FILES_BYTES_PER_USER=100)
async def test_a_users_files_have_so_much_room(gateway, alice):
    await store_file(gateway, alice.key, data=b"x" * 60)
    assert (await upload_file(gateway, alice.key, data=b"x" * 60)).error["code"] == "too_many_files"
    await store_file(gateway, alice.key, data=b"x" * 40)
    assert len(list_disk_files()) == 4


# --- in chat --------------------------------------------------------------------------------------
async def test_uploads_at_the_same_time_do_not_exceed_what_a_user_may_have(
    gateway, alice, settings
):
    settings.FILES_PER_USER = 3
    settings.UPLOADS_PER_USER = 6
    answers = await asyncio.gather(*(upload_file(gateway, alice.key) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [200] * 3 + [400] * 3
    assert len(list_disk_files()) == 6


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


@pytest.mark.settings(FILE_LIMIT_BYTES=1_000, BATCH_FILE_BYTES=100_000)
async def test_an_input_of_a_batch_may_be_larger_than_other_files(gateway, alice):
    data = b'{"custom_id": "a"}\n' * 1_000
    for purpose, status in (("user_data", 413), ("batch", 200)):
        answer = await upload_file(gateway, alice.key, "a.jsonl", data, purpose)
        assert answer.status == status
    assert len(list_disk_files()) == 1  # its text is read by nobody
