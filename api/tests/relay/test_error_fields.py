"""An error names the field as its caller knows it, not by its place among all that the upstream is
told.
"""

import pytest

from api.relay import error_fields
from api.relay.error_fields import find_own_index
from providers.exceptions import InvalidRequest
from proxysite.testing.gateway import HELLO
from proxysite.testing.upstream import answer_honestly, send_reply

BAD_FILE = {"type": "file", "file": {"file_id": "file-unknown"}}
TEXT = {"type": "text", "text": "look at this"}


@pytest.mark.parametrize(
    ("told", "own", "expected"),
    [
        ("u", "u", [0]),
        ("uau", "u", [None, None, 0]),
        ("suau", "u", [None, None, None, 0]),
        ("suau", "su", [None, None, None, 1]),
        ("suauau", "uau", [None, None, None, 0, 1, 2]),
        ("uatu", "tu", [None, None, 0, 1]),
        ("suau", "sau", [None, None, 1, 2]),
        ("uau", "uaaau", [0, 3, 4]),  # three items of a response are one message
        ("au", "u", [None, 0]),
        ("u", "", [None]),
    ],
)
def test_the_own_messages_are_the_last_ones_told(told, own, expected):
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    roles = [[names[letter] for letter in letters] for letters in (told, own)]
    assert [find_own_index(roles[0], place, roles[1]) for place in range(len(told))] == expected


def test_fields_that_have_another_name_in_a_response_are_named_so():
    places = error_fields.locate_response_items({"input": "x"})
    for param, expected in (
        ("max_tokens", "max_output_tokens"),
        ("messages", "input"),
        ("user", "user"),
        (None, None),
    ):
        error = InvalidRequest("No.", param=param)
        places.rename_param(error)
        assert error.param == expected


async def test_a_part_is_named_by_its_place_among_the_callers_own_messages(
    gateway, upstream, alice
):
    for _ in range(3):
        assert (await gateway.request_chat(alice.key, conversation_id="talk")).status == 200
    for messages, place in (
        ([{"role": "user", "content": [TEXT, BAD_FILE]}], 0),
        ([{"role": "system", "content": "s"}, {"role": "user", "content": [TEXT, BAD_FILE]}], 1),
    ):
        answer = await gateway.request_chat(alice.key, conversation_id="talk", messages=messages)
        assert answer.status == 400
        assert answer.error["param"] == f"messages[{place}].content[1].file.file_id"


@pytest.mark.parametrize("streams", [False, True])
async def test_what_an_upstream_refuses_is_named_as_the_caller_said_it(
    gateway, upstream, alice, streams
):
    assert (await gateway.request_chat(alice.key, conversation_id="talk")).status == 200
    for told, expected in (
        ("messages[2].content", "messages[0].content"),
        ("messages[0].content", "conversation_id"),
    ):
        error = {
            "message": "Not this.",
            "type": "invalid_request_error",
            "param": told,
            "code": None,
        }
        upstream.queue_scripts(send_reply({"error": error}, 400))
        answer = await gateway.request_chat(alice.key, conversation_id="talk", stream=streams)
        assert (answer.status, answer.error["param"]) == (400, expected)


async def test_a_responses_items_are_named_as_such(gateway, upstream, alice):
    first = await gateway.send_request(
        "POST", "/v1/responses", alice.key, json={"model": "m", "input": "hi"}
    )
    part = {"type": "input_file", "file_id": "file-unknown"}
    item = {"role": "user", "content": [{"type": "input_text", "text": "x"}, part]}
    for more in (
        {},
        {"previous_response_id": first.json["id"]},
        {"instructions": "i", "store": False},
    ):
        body = {"model": "m", "input": [{"role": "user", "content": "x"}, item]} | more
        answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
        assert (answer.status, answer.error["param"]) == (400, "input[1].content[1].file_id"), more


async def test_an_answer_to_a_call_that_nobody_made_is_named_in_a_chat_as_one(
    gateway, upstream, alice
):
    upstream.queue_scripts(answer_honestly())
    messages = [*HELLO, {"role": "tool", "tool_call_id": "call_unknown", "content": "x"}]
    answer = await gateway.request_chat(alice.key, conversation_id="talk", messages=messages)
    assert (answer.status, answer.error["param"]) == (400, "messages")
