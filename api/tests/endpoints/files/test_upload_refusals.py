"""Uploads that are refused or forgotten: strangers, broken forms, odd names."""

from api.tests.endpoints.files.file_requests import list_disk_files, upload_file
from proxysite.testing import wait_until_true


async def test_without_a_key_nothing_is_stored(gateway, alice):
    for key in (None, "sk-ps-unknown"):
        answer = await upload_file(gateway, key)
        assert answer.status == 401
        assert answer.error["code"] == "invalid_api_key"
    assert list_disk_files() == []


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
    assert list_disk_files() == []
    assert (await upload_file(gateway, alice.key)).status == 200


async def test_a_form_that_lacks_something_names_it(gateway, alice):
    lacking = await upload_file(gateway, alice.key, purpose=None)
    assert (lacking.status, lacking.error["param"]) == (400, "purpose")
    other = {"other": ("a.txt", b"a")}
    lacking = await gateway.send_request(
        "POST", "/v1/files", alice.key, files=other, data={"purpose": "user_data"}
    )
    assert (lacking.status, lacking.error["param"]) == (400, "file")
    fields = {"purpose": (None, "user_data"), "file": (None, "a")}
    text = await gateway.send_request("POST", "/v1/files", alice.key, files=fields)
    assert (text.status, text.error["param"]) == (400, "file")
    wrong = await upload_file(gateway, alice.key, purpose="batch_output")
    assert (wrong.status, wrong.error["param"]) == (400, "purpose")
    assert list_disk_files() == []


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


async def test_a_name_is_a_name_and_no_path(gateway, alice):
    for name, shown in (
        ("../../x/notes.txt", "notes.txt"),
        ("c:\\x\\ü.md", "ü.md"),
        ("n" * 400 + ".txt", None),
    ):
        found = (await upload_file(gateway, alice.key, name)).json
        assert "/" not in found["filename"]
        assert shown in (None, found["filename"])
        assert len(found["filename"]) <= 255
