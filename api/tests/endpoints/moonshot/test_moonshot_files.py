"""Files are read by Moonshot and deleted there."""

from base64 import b64encode

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import send_refusal, send_reply


def make_file_part(data=b"%PDF-1.7 any", filename='a "b".pdf'):
    url = f"data:application/pdf;base64,{b64encode(data).decode()}"
    return {"type": "file", "file": {"filename": filename, "file_data": url}}


def make_file_messages(*parts):
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "?"}, *parts]},
    ]


ENTRY = {"id": "file_abc-1", "object": "file", "bytes": 3, "status": "ok", "status_details": ""}
TEXT = '{"content":"The text.","file_type":"application/pdf"}'


async def test_a_file_is_read_by_moonshot_and_deleted_there(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(ENTRY), send_reply(TEXT.encode()))

    async def rest(exchange):
        deleting = exchange.request.method == "DELETE"
        await send_reply({"deleted": True} if deleting else speech.chat_completion("Read."))(
            exchange
        )

    upstream.set_default_script(rest)
    answer = await gateway.request_chat(
        alice.key, model="m-files", messages=make_file_messages(make_file_part())
    )
    assert answer.text == "Read."
    await upstream.wait_for_request(4)
    upload, content, *others = upstream.requests
    assert (upload.method, upload.path, upload.bearer_token) == ("POST", "/v1/files", "sk-up-1")
    kind, _, boundary = upload.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    assert upload.body.startswith(f"--{boundary}\r\n".encode())
    assert upload.body.endswith(f"\r\n--{boundary}--\r\n".encode())
    assert b'name="purpose"\r\n\r\nfile-extract\r\n' in upload.body
    assert b'name="file"; filename="a %22b%22.pdf"\r\n' in upload.body
    assert b"\r\n\r\n%PDF-1.7 any\r\n" in upload.body
    assert (content.method, content.path) == ("GET", "/v1/files/file_abc-1/content")
    chat = next(request for request in others if request.method == "POST")
    gone = next(request for request in others if request.method == "DELETE")
    assert gone.path == "/v1/files/file_abc-1"
    system, text, user = chat.json["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert text == {"role": "system", "content": TEXT}
    assert [piece["type"] for piece in user["content"]] == ["text", "text"]
    assert 'a "b".pdf' in user["content"][1]["text"]


async def test_a_file_that_moonshot_cannot_read_is_the_callers_fault_and_deleted(
    gateway, upstream, alice
):
    upstream.set_default_script(send_reply({"deleted": True}))
    upstream.queue_scripts(send_reply(ENTRY | {"status": "error", "status_details": "No text."}))
    answer = await gateway.request_chat(
        alice.key, model="m-files", messages=make_file_messages(make_file_part())
    )
    assert (answer.status, answer.error["message"]) == (400, "No text.")
    assert (await upstream.wait_for_request(2)).request.method == "DELETE"
    upstream.queue_scripts(send_refusal(400, "Unsupported file.", kind="invalid_request_error"))
    answer = await gateway.request_chat(
        alice.key, model="m-files", messages=make_file_messages(make_file_part())
    )
    assert (answer.status, answer.error["message"]) == (400, "Unsupported file.")
    assert not any(request.path.endswith("completions") for request in upstream.requests)


@pytest.mark.parametrize(
    "entry", [b"no json", {}, [], {"id": 7}, {"id": "../../users/me"}, {"id": ""}]
)
async def test_an_upload_whose_answer_cannot_be_used_is_a_bad_answer(
    gateway, upstream, alice, entry
):
    upstream.set_default_script(send_reply(entry))
    answer = await gateway.request_chat(
        alice.key, model="m-files", messages=make_file_messages(make_file_part())
    )
    assert (answer.status, answer.error["code"]) == (502, "bad_upstream_response")
    assert {(request.method, request.path) for request in upstream.requests} == {
        ("POST", "/v1/files")
    }


async def test_a_rejected_upload_is_tried_with_another_token(gateway, upstream, alice, provider):
    await run_in_thread(rows.create_tokens, provider, "sk-up-2")
    await gateway.reload_rows()

    async def serve(exchange):
        request = exchange.request
        answers = {
            ("POST", "/v1/files"): send_reply(ENTRY),
            ("POST", "/v1/chat/completions"): send_reply(speech.chat_completion("Ok.")),
        }
        if request.bearer_token == "sk-up-1":
            return await send_refusal(401, kind="invalid_authentication_error")(exchange)
        return await answers.get((request.method, request.path), send_reply(b"text"))(exchange)

    upstream.set_default_script(serve)
    assert (
        await gateway.request_chat(
            alice.key, model="m-files", messages=make_file_messages(make_file_part())
        )
    ).text == "Ok."
