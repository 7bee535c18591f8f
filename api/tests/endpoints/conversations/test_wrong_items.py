"""Items that are refused, by the name of what is wrong."""

from itertools import product

from api.tests.endpoints.conversations.conversation_requests import (
    HELLO,
    add_items,
    create_conversation_row,
)
from conversations.models import Conversation, Turn
from providers.database.database_threads import run_in_thread

WRONG_ITEMS = [
    ("x", "items[0]", "invalid_type"),
    ({}, "items[0].type", "missing_required_parameter"),
    ({"type": "item_reference", "id": "msg_1"}, "items[0].type", "invalid_value"),
    ({"type": "poem"}, "items[0].type", "invalid_value"),
    ({"type": 1}, "items[0].type", "invalid_value"),
    ({"role": "user"}, "items[0].content", "missing_required_parameter"),
    ({"role": "tool", "content": "x"}, "items[0].role", "invalid_value"),
    ({"type": "message", "content": "x"}, "items[0].role", "missing_required_parameter"),
    ({"role": "user", "content": None}, "items[0].content", "invalid_type"),
    ({"role": "user", "content": ["x"]}, "items[0].content[0]", "invalid_type"),
    (
        {"role": "user", "content": [{"type": "input_text"}]},
        "items[0].content[0].text",
        "missing_required_parameter",
    ),
    (
        {"role": "user", "content": [{"type": "poem", "text": "x"}]},
        "items[0].content[0].type",
        "invalid_value",
    ),
    (
        {"role": "user", "content": [{"type": "output_text", "text": "x"}]},
        "items[0].content[0].type",
        None,
    ),
    (
        {"role": "assistant", "content": [{"type": "input_text", "text": "x"}]},
        "items[0].content[0].type",
        None,
    ),
    (
        {"role": "user", "content": [{"type": "input_file", "file_url": 7}]},
        "items[0].content[0].file_url",
        "invalid_type",
    ),
    ({"role": "user", "content": [{"type": "input_image"}]}, "items[0].content[0].image_url", None),
    (
        {"role": "user", "content": [{"type": "input_file"}]},
        "items[0].content[0].file_id",
        "missing_required_parameter",
    ),
    (
        {"type": "function_call", "call_id": "c", "name": "f"},
        "items[0].arguments",
        "missing_required_parameter",
    ),
    (
        {"type": "function_call", "call_id": "", "name": "f", "arguments": "{}"},
        "items[0].call_id",
        "invalid_value",
    ),
    (
        {"type": "function_call_output", "call_id": "c"},
        "items[0].output",
        "missing_required_parameter",
    ),
    (
        {"type": "function_call_output", "call_id": "c", "output": {}},
        "items[0].output",
        "invalid_type",
    ),
    (
        {"type": "reasoning", "summary": [{"type": "x", "text": "y"}]},
        "items[0].summary[0].type",
        "invalid_value",
    ),
    ({"role": "user", "content": "\0"}, "items[0].content", "invalid_value"),
]


async def test_a_wrong_item_is_refused_by_its_name(gateway, alice, subtests):
    found = await run_in_thread(create_conversation_row, alice)
    paths = ("/v1/conversations", f"/v1/conversations/{found.pk}/items")
    for path, (item, param, code) in product(paths, WRONG_ITEMS):
        with subtests.test(path=path, item=item):
            answer = await gateway.send_request("POST", path, alice.key, json={"items": [item]})
            assert (answer.status, answer.error["param"]) == (400, param), answer.body
            assert code is None or answer.error["code"] == code
    assert await run_in_thread(lambda: (Conversation.objects.count(), Turn.objects.count())) == (
        1,
        0,
    )


async def test_more_than_twenty_items_at_once_are_too_many(gateway, alice):
    found = await run_in_thread(create_conversation_row, alice)
    answer = await add_items(gateway, alice.key, found.pk, *[HELLO] * 21)
    assert (answer.status, answer.error["param"]) == (400, "items")
    assert len((await add_items(gateway, alice.key, found.pk, *[HELLO] * 20)).json["data"]) == 20
