"""Lists that are to go on after a row that is not there."""

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import send_reply


@pytest.fixture
async def lists(gateway, alice, upstream):
    """Return each list of Alice's: its address, the field for its last row, what a row is."""
    upstream.queue_scripts(send_reply(speech.chat_completion("Hello.")))
    body = {"model": "m", "input": "Hi"}
    response = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    conversation = await gateway.send_request("POST", "/v1/conversations", alice.key, json={})
    return [
        (f"/v1/responses/{response.json['id']}/input_items", "after", "item"),
        (f"/v1/conversations/{conversation.json['id']}/items", "after", "item"),
        ("/v1/sessions", "after", "session"),
        ("/v1/conversations", "after", "conversation"),
        ("/v1/conversations/search", "before", "item"),
        ("/v1/files", "after", "file"),
    ]


@pytest.mark.parametrize("unknown", ["msg_none", "x" * 5_000], ids=["short", "long"])
async def test_a_last_row_that_is_not_there_is_not_found(gateway, alice, lists, unknown):
    for path, field, kind in lists:
        params = {"q": "x", field: unknown}
        answer = await gateway.send_request("GET", path, alice.key, params=params)
        assert (answer.status, answer.error["code"]) == (404, f"{kind}_not_found"), path
        assert len(answer.error["message"]) < 200


@pytest.mark.parametrize("unknown", ["\0", "a\0b"])
async def test_an_address_with_a_nul_is_refused_before_any_look_up(gateway, alice, lists, unknown):
    for path, field, _ in lists:
        params = {"q": "x", field: unknown}
        answer = await gateway.send_request("GET", path, alice.key, params=params)
        assert (answer.status, answer.error["code"]) == (400, "invalid_value"), path
