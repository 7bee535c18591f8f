"""Files of any type are stored; only their use as a document needs one that can be read."""

from typing import get_args

import pytest
from openai.types import FilePurpose

from api.tests.endpoints.files.file_requests import ask_about, file_by_id, upload_file
from proxysite.testing.upstream import answer_honestly

BINARY = bytes(range(256)) * 4


@pytest.mark.parametrize("name", ["virus.exe", "archive.zip", "noending", "a.txt.bin"])
async def test_a_file_of_any_type_is_stored_and_given_back(gateway, alice, name):
    stored = await upload_file(
        gateway, alice.key, name, BINARY, content_type="application/octet-stream"
    )
    assert (stored.status, stored.json["status"]) == (200, "processed")
    assert "status_details" not in stored.json
    content = await gateway.send_request("GET", f"/v1/files/{stored.json['id']}/content", alice.key)
    assert content.body == BINARY


async def test_a_binary_file_in_a_prompt_is_refused_with_the_reason(gateway, upstream, alice):
    stored = await upload_file(gateway, alice.key, "data.bin", BINARY)
    answer = await gateway.request_chat(
        alice.key, messages=ask_about(file_by_id(stored.json["id"]))
    )
    assert (answer.status, answer.error["code"]) == (400, "unreadable_file")
    assert "It is not text, and files of its type cannot be read." in answer.error["message"]
    assert upstream.requests == []


async def test_a_text_of_an_unknown_name_is_read_in_a_prompt(gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("Hello"))
    stored = await upload_file(
        gateway, alice.key, "LICENSE-MIT.orig", b"Permission is granted", content_type=""
    )
    answer = await gateway.request_chat(
        alice.key, messages=ask_about(file_by_id(stored.json["id"]))
    )
    assert answer.status == 200
    assert b"Permission is granted" in upstream.last_exchange.request.body


@pytest.mark.parametrize("purpose", get_args(FilePurpose))
async def test_a_file_of_any_purpose_of_openai_is_stored(gateway, alice, purpose):
    stored = await upload_file(gateway, alice.key, "a.jsonl", b'{"a": 1}\n', purpose)
    assert (stored.status, stored.json["purpose"]) == (200, purpose)
    listed = await gateway.send_request("GET", "/v1/files", alice.key, params={"purpose": purpose})
    assert [file["id"] for file in listed.json["data"]] == [stored.json["id"]]


async def test_a_file_for_a_batch_expires_after_thirty_days(gateway, alice):
    stored = await upload_file(gateway, alice.key, "a.jsonl", b"{}", "batch")
    assert 0 <= stored.json["expires_at"] - stored.json["created_at"] - 30 * 86_400 <= 1
