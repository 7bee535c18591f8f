"""The messages of a stored chat completion."""

from api.tests.endpoints.stored_completions.completion_rows import (
    PATH,
    completion_id,
    create_completion,
)
from providers.database.database_threads import run_in_thread


async def test_the_messages_are_those_of_the_question(gateway, alice):
    picture = {
        "type": "image_url",
        "image_url": {"url": "https://example.org/a.png", "detail": "auto"},
    }
    parts = [{"type": "text", "text": "What is this?"}, picture]
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = [
        {"role": "user", "content": parts, "name": "alice"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
        {"role": "user", "content": "And now?"},
    ]
    turn = await run_in_thread(lambda: create_completion(alice, asked=asked))
    path = f"{PATH}/{completion_id(turn)}/messages"
    found = (await gateway.send_request("GET", path, alice.key)).json
    ids = [f"{completion_id(turn)}-{place}" for place in range(4)]
    assert [one["id"] for one in found["data"]] == ids
    assert (found["first_id"], found["last_id"], found["has_more"]) == (ids[0], ids[-1], False)
    assert found["data"][0] == {
        "id": ids[0],
        "role": "user",
        "refusal": None,
        "name": "alice",
        "content": "What is this?",
        "content_parts": parts,
    }
    assert found["data"][1]["tool_calls"] == [call]
    assert found["data"][1]["content"] is None
    assert found["data"][2]["tool_call_id"] == "call_1"
    assert found["data"][3] == {
        "id": ids[3],
        "role": "user",
        "refusal": None,
        "name": None,
        "content": "And now?",
        "content_parts": None,
    }
    page = (
        await gateway.send_request("GET", path, alice.key, params={"after": ids[0], "limit": 2})
    ).json
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (ids[1:3], True)
    page = (
        await gateway.send_request(
            "GET", path, alice.key, params={"after": ids[1], "order": "desc"}
        )
    ).json
    assert [one["id"] for one in page["data"]] == [ids[0]]
    unknown = await gateway.send_request("GET", path, alice.key, params={"after": "x"})
    assert (unknown.status, unknown.error["param"]) == (404, "after")
