"""Long documents over HTTP as OpenKimi had them: upload, ingest, status."""

import pytest

from conversations.models import Document
from providers.database.database_threads import run_in_thread
from proxysite.testing import wait_until_true

TEXT = "".join(f"Paragraph {n} tells of the lighthouse keeper Ada{n}.\n\n" for n in range(100))
BYTES = TEXT.encode()


async def upload(gateway, key, data=BYTES, name="notes.txt"):
    return await gateway.send_request(
        "POST", "/v1/files/upload", key, files={"file": (name, data, "text/plain")}
    )


async def ingest(gateway, key, file_id):
    return await gateway.send_request("POST", "/v1/files/ingest", key, json={"file_id": file_id})


async def status(gateway, key, file_id):
    return await gateway.send_request("GET", f"/v1/files/{file_id}/status", key)


async def settled(gateway, key, file_id):
    """The status once it is neither uploaded nor processing."""

    async def found():
        answer = (await status(gateway, key, file_id)).json
        return answer if answer["status"] not in ("uploaded", "processing") else None

    return await wait_until_true(found)


async def test_a_file_is_uploaded_ingested_and_its_state_told(gateway, alice):
    answer = await upload(gateway, alice.key)
    assert answer.status == 200, answer.body
    file_id = answer.json["file_id"]
    assert answer.json == {"status": "uploaded", "file_id": file_id, "filename": "notes.txt"}
    assert (await status(gateway, alice.key, file_id)).json == answer.json
    begun = await ingest(gateway, alice.key, file_id)
    assert (begun.status, begun.json["status"], begun.json["file_id"]) == (
        200,
        "processing",
        file_id,
    )
    done = await settled(gateway, alice.key, file_id)
    assert (done["status"], done["characters"]) == ("ingested", len(TEXT))
    assert done["passages"] > 5
    assert (await ingest(gateway, alice.key, file_id)).json == done
    assert await run_in_thread(Document.objects.count) == 1
    assert (await gateway.send_request("GET", f"/v1/files/{file_id}", alice.key)).json[
        "purpose"
    ] == "user_data"


async def test_deleting_the_file_deletes_the_document(gateway, alice):
    file_id = (await upload(gateway, alice.key)).json["file_id"]
    await ingest(gateway, alice.key, file_id)
    await settled(gateway, alice.key, file_id)
    assert (await gateway.send_request("DELETE", f"/v1/files/{file_id}", alice.key)).status == 200
    assert not await run_in_thread(Document.objects.exists)
    assert (await status(gateway, alice.key, file_id)).status == 404


@pytest.mark.parametrize(
    ("data", "name", "found"), [(b" \n", "a.txt", "empty"), (b"%PDF-1.7 no", "a.pdf", "error")]
)
async def test_a_file_without_text_says_so(gateway, alice, data, name, found):
    file_id = (await upload(gateway, alice.key, data, name)).json["file_id"]
    assert (await ingest(gateway, alice.key, file_id)).status == 200
    answer = await settled(gateway, alice.key, file_id)
    assert answer["status"] == found
    assert answer["message"]


async def test_nobody_sees_or_ingests_what_is_anothers(gateway, alice, mallory):
    file_id = (await upload(gateway, alice.key)).json["file_id"]
    unknown = f"file-{'0' * 32}"
    for ask in (ingest, status):
        answers = [await ask(gateway, mallory.key, each) for each in (file_id, unknown)]
        assert [answer.status for answer in answers] == [404, 404]
        first, second = (answer.body for answer in answers)
        assert first.replace(file_id.encode(), b"") == second.replace(unknown.encode(), b"")
        assert answers[0].error["code"] == "file_not_found"
    assert not await run_in_thread(Document.objects.exists)


async def test_a_key_that_stores_nothing_has_no_documents(gateway, alice):
    file_id = (await upload(gateway, alice.key)).json["file_id"]
    alice.row.stores_content = False
    await run_in_thread(alice.row.save)
    for answer in (await upload(gateway, alice.key), await ingest(gateway, alice.key, file_id)):
        assert (answer.status, answer.error["code"]) == (403, "storage_disabled")


async def test_what_lacks_something_is_refused(gateway, alice):
    fields = {"other": ("a.txt", b"a")}
    lacking = await gateway.send_request("POST", "/v1/files/upload", alice.key, files=fields)
    assert (lacking.status, lacking.error["param"]) == (400, "file")
    wrong = await gateway.send_request("POST", "/v1/files/upload", alice.key, json={})
    assert wrong.status == 415
    strange = await upload(gateway, alice.key, b"MZ\0", "a.exe")
    assert (strange.status, strange.error["code"]) == (400, "unsupported_file")
    for body in ({}, {"file_id": 1}, {"file_id": ""}):
        answer = await gateway.send_request("POST", "/v1/files/ingest", alice.key, json=body)
        assert (answer.status, answer.error["param"]) == (400, "file_id")
    for method, path in (("GET", "upload"), ("GET", "ingest"), ("POST", f"file-{'0' * 32}/status")):
        answer = await gateway.send_request(method, f"/v1/files/{path}", alice.key)
        assert answer.status == 405, (path, answer.body)
    assert (
        await gateway.send_request("POST", "/v1/files/ingest", json={"file_id": "x"})
    ).status == 401


@pytest.mark.settings(DOCUMENTS_PER_USER=1)
async def test_a_user_has_a_bounded_number_of_documents(gateway, alice):
    first, second = [(await upload(gateway, alice.key)).json["file_id"] for _ in range(2)]
    await ingest(gateway, alice.key, first)
    await settled(gateway, alice.key, first)
    answer = await ingest(gateway, alice.key, second)
    assert (answer.status, answer.error["code"]) == (400, "too_many_documents")


@pytest.mark.settings(UNFITTED_TEXT_CHARS=1_000)
async def test_a_long_file_is_taken_where_the_window_is_known(gateway, upstream, alice):
    from providers.models import ChatModel

    file_id = (await upload(gateway, alice.key)).json["file_id"]
    content = [{"type": "text", "text": "Who?"}, {"type": "file", "file": {"file_id": file_id}}]
    asked = {"messages": [{"role": "user", "content": content}]}
    refused = await gateway.request_chat(alice.key, **asked)
    assert (refused.status, refused.error["code"]) == (400, "files_too_large")
    await run_in_thread(ChatModel.objects.update, context_window=100_000)
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key, **asked)).status == 200
    assert "Ada99" in upstream.requests[-1].json["messages"][0]["content"][1]["text"]


async def test_an_ingested_file_longer_than_the_window_answers_questions_from_its_rows(
    gateway, upstream, alice
):
    from providers.models import ChatModel

    await run_in_thread(ChatModel.objects.update, context_window=800)
    await gateway.reload_rows()
    file_id = (await upload(gateway, alice.key)).json["file_id"]
    await ingest(gateway, alice.key, file_id)
    await settled(gateway, alice.key, file_id)
    for number in (31, 77):
        question = {"type": "text", "text": f"In which paragraph is Ada{number}?"}
        content = [question, {"type": "file", "file": {"file_id": file_id}}]
        assert (
            await gateway.request_chat(alice.key, messages=[{"role": "user", "content": content}])
        ).status == 200
        asked, given = upstream.requests[-1].json["messages"][0]["content"]
        assert asked == question
        assert f"Ada{number}." in given["text"]
        assert len(given["text"]) < 2_600
        assert given["text"].startswith("[File: notes.txt]")
    assert await run_in_thread(Document.objects.count) == 1
