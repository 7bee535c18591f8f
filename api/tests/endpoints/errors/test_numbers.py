"""Numbers in the addresses and forms of requests."""

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import DONE, send_stream

OVER_PAGE = "limit must be a whole number from 0 to 100."
OVER_FILES = "limit must be a whole number from 0 to 10000."


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/v1/conversations?limit=101", OVER_PAGE),
        ("/v1/conversations/search?q=x&limit=0", OVER_PAGE.replace("from 0", "from 1")),
        ("/v1/sessions?limit=", OVER_PAGE),
        ("/v1/chat/completions?limit=-1", OVER_PAGE),
        ("/v1/files?limit=10001", OVER_FILES),
    ],
)
async def test_a_limit_that_is_none_is_refused_with_its_range(gateway, alice, path, text):
    answer = await gateway.send_request("GET", path, alice.key)
    assert (answer.status, answer.error["param"], answer.error["message"]) == (400, "limit", text)


@pytest.mark.parametrize("number", ["-2", "", "1.5", "9" * 30])
async def test_the_number_of_an_event_that_is_none_is_refused(gateway, alice, upstream, number):
    upstream.queue_scripts(send_stream(*speech.streamed_completion("Hello."), DONE))
    body = {"model": "m", "input": "Hi", "background": True}
    made = (await gateway.send_request("POST", "/v1/responses", alice.key, json=body)).json
    path = f"/v1/responses/{made['id']}?stream=true&starting_after={number}"
    answer = await gateway.send_request("GET", path, alice.key)
    assert (answer.status, answer.error["param"]) == (400, "starting_after")
    text = "starting_after must be a whole number from -1 to 999999999."
    assert answer.error["message"] == text


@pytest.mark.parametrize(
    "path",
    ["/v1/files", "/v1/conversations", "/v1/sessions", "/v1/chat/completions"],
)
async def test_a_list_of_no_rows_is_empty(gateway, alice, path):
    answer = await gateway.send_request("GET", f"{path}?limit=0", alice.key)
    assert answer.status == 200, answer.body
    assert answer.json["data"] == []
