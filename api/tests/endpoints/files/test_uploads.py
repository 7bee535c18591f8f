"""/v1/uploads: a file comes in parts, and is made of them when it is completed."""

import hashlib
from datetime import timedelta

import openai
import pytest
from django.utils import timezone

from api.tests.endpoints.files.file_requests import list_disk_files
from conversations.files import file_storage, parted_uploads_store
from conversations.models import PartedUpload, StoredFile, UploadPart
from providers.database.database_threads import run_in_thread

TEXT = b"The quick brown fox. " * 100
SIZE = len(TEXT)


@pytest.fixture
async def client(gateway, alice):
    """Yield OpenAI's own client with Alice's key."""
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=alice.key, max_retries=0
    ) as opened:
        yield opened


async def begin(client, size=SIZE, **fields):
    body = {"filename": "fox.txt", "mime_type": "text/plain", "purpose": "user_data"} | fields
    return await client.uploads.create(bytes=size, **body)


async def send_parts(client, upload, *parts):
    sent = [await client.uploads.parts.create(upload.id, data=part) for part in parts]
    return [part.id for part in sent]


async def refuse(awaitable, param, status=400):
    with pytest.raises(openai.APIStatusError) as caught:
        await awaitable
    assert (caught.value.status_code, caught.value.param) == (status, param)
    return caught.value


async def test_parts_become_a_file_in_the_order_that_is_named(client, upstream):
    upload = await begin(client)
    assert (upload.object, upload.status, upload.bytes) == ("upload", "pending", len(TEXT))
    assert upload.expires_at - upload.created_at == 3_600
    second, first = await send_parts(client, upload, TEXT[700:], TEXT[:700])
    done = await client.uploads.complete(
        upload.id, part_ids=[first, second], md5=hashlib.md5(TEXT).hexdigest()
    )
    assert (done.status, done.file.bytes, done.file.filename) == ("completed", 2_100, "fox.txt")
    content = await client.files.content(done.file.id)
    assert content.content == TEXT
    assert await run_in_thread(UploadPart.objects.count) == 0
    assert {name.removesuffix(".text") for name in list_disk_files()} == {done.file.id}
    message = {"type": "file", "file": {"file_id": done.file.id}}
    await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": [message]}]
    )
    assert "quick brown fox" in str(upstream.last_exchange.request.json["messages"])


async def test_the_official_helper_sends_a_file_in_chunks(client, tmp_path):
    path = tmp_path / "fox.txt"
    path.write_bytes(TEXT)
    done = await client.uploads.upload_file_chunked(
        file=path, mime_type="text/plain", purpose="user_data", part_size=500
    )
    assert done.file.bytes == len(TEXT)


async def test_what_does_not_fit_together_is_refused_and_can_be_tried_again(client):
    upload = await begin(client)
    ids = await send_parts(client, upload, TEXT[:700], TEXT[700:])
    complete = client.uploads.complete
    await refuse(complete(upload.id, part_ids=ids[:1]), "part_ids")
    await refuse(complete(upload.id, part_ids=[ids[0], ids[0]]), "part_ids")
    await refuse(complete(upload.id, part_ids=[ids[0], "part_none"]), "part_ids[1]")
    error = await refuse(complete(upload.id, part_ids=ids, md5="0" * 32), "md5")
    assert error.code == "md5_mismatch"
    await refuse(complete(upload.id, part_ids=ids, md5="short"), "md5")
    assert (await complete(upload.id, part_ids=ids)).status == "completed"
    await refuse(complete(upload.id, part_ids=ids), "id")
    await refuse(client.uploads.cancel(upload.id), "id")


@pytest.mark.settings(UPLOAD_PART_BYTES=1_000, UPLOAD_PARTS=2, UPLOAD_LIMIT_BYTES=5_000)
async def test_parts_have_limits(client):
    await refuse(begin(client, 5_001), "bytes")
    upload = await begin(client, 1_800)
    too_large = client.uploads.parts.create(upload.id, data=b"x" * 1_001)
    await refuse(too_large, "data", 413)
    await send_parts(client, upload, b"x" * 900)
    beyond = client.uploads.parts.create(upload.id, data=b"x" * 901)
    await refuse(beyond, "data")
    await send_parts(client, upload, b"x" * 100)
    third = client.uploads.parts.create(upload.id, data=b"x")
    await refuse(third, "data")
    assert len(list_disk_files()) == 2


@pytest.mark.settings(FILES_BYTES_PER_USER=3_000)
async def test_parts_take_room_among_the_files_until_they_are_given_up(client):
    upload = await begin(client)
    await send_parts(client, upload, TEXT)
    error = await refuse(
        client.files.create(file=("a.txt", b"x" * 1_000), purpose="user_data"), None
    )
    assert error.code == "too_many_files"
    await refuse(begin(client, 1_000), None)
    cancelled = await client.uploads.cancel(upload.id)
    assert cancelled.status == "cancelled"
    assert list_disk_files() == []
    part = client.uploads.parts.create(upload.id, data=b"x")
    await refuse(part, "id")
    await client.files.create(file=("a.txt", b"x" * 1_000), purpose="user_data")
    again = await begin(client, 2_000)  # exactly the room that is left
    ids = await send_parts(client, again, b"x" * 2_000)
    assert (await client.uploads.complete(again.id, part_ids=ids)).file.bytes == 2_000


async def test_nobody_sees_the_uploads_of_others(client, gateway, mallory):
    upload = await begin(client)
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=mallory.key, max_retries=0
    ) as stranger:
        await refuse(stranger.uploads.parts.create(upload.id, data=b"x"), "id", 404)
        await refuse(stranger.uploads.complete(upload.id, part_ids=["part_1"]), "id", 404)
        await refuse(stranger.uploads.cancel(upload.id), "id", 404)
    await refuse(client.uploads.cancel("upload_none"), "id", 404)


async def test_an_upload_expires_and_is_swept_with_its_parts(client):
    upload = await begin(client)
    ids = await send_parts(client, upload, TEXT)
    done = await begin(client)
    file_ids = await send_parts(client, done, TEXT)
    file = (await client.uploads.complete(done.id, part_ids=file_ids)).file
    past = timezone.now() - timedelta(seconds=1)
    await run_in_thread(lambda: PartedUpload.objects.update(expires_at=past))
    await refuse(client.uploads.complete(upload.id, part_ids=ids), "id")
    await run_in_thread(parted_uploads_store.delete_stale_uploads)
    assert await run_in_thread(PartedUpload.objects.count) == 0
    assert {name.removesuffix(".text") for name in list_disk_files()} == {file.id}
    assert await run_in_thread(StoredFile.objects.count) == 1


async def test_bytes_of_parts_are_no_orphans(client):
    upload = await begin(client)
    await send_parts(client, upload, TEXT)
    await run_in_thread(lambda: file_storage.delete_stale_files(older_seconds=-10))
    assert len(list_disk_files()) == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "dreams"}, "purpose"),
        ({"filename": ""}, "filename"),
        ({"size": 0}, "bytes"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after.seconds"),
    ],
)
async def test_a_wrong_announcement_names_its_field(client, fields, param):
    await refuse(begin(client, **fields), param)


async def test_the_lifetime_of_the_file_begins_when_it_is_complete(client):
    upload = await begin(client, expires_after={"anchor": "created_at", "seconds": 7_200})
    ids = await send_parts(client, upload, TEXT)
    file = (await client.uploads.complete(upload.id, part_ids=ids)).file
    assert file.expires_at - file.created_at in (7_199, 7_200)


@pytest.mark.settings(FILE_LIMIT_BYTES=1_000)
async def test_of_a_file_beyond_the_limit_of_one_request_no_text_is_read(client):
    upload = await begin(client)
    ids = await send_parts(client, upload, TEXT)
    file = (await client.uploads.complete(upload.id, part_ids=ids)).file
    assert (file.status, file.status_details) == ("error", "The file is too large to be read.")
