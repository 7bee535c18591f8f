"""Answers of /v1/messages, checked against a description of Anthropic's Messages API.

The description is in no package registry. The test runs on the file
`schema/anthropic-messages/openapi.json` of ddalcu/llmprobe that `MESSAGES_DESCRIPTION` names, and
needs the package `jsonschema`.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from api.tests.endpoints.messages.conftest import request_message
from api.tests.messages.message_events import read_events
from proxysite.testing import speech
from proxysite.testing.upstream import CUT, DONE, send_reply, send_stream

pytestmark = pytest.mark.interop

TOOLS = [{"name": "look", "description": "Look.", "input_schema": {"type": "object"}}]
FUNCTION = {"name": "look", "arguments": '{"at": "x"}'}
CALL = {"id": "call_1", "type": "function", "function": FUNCTION}
MESSAGE = {"reasoning_content": "Hm.", "content": "I look.", "tool_calls": [CALL]}
WANTED: dict[str, Any] = {"tools": TOOLS, "thinking": {"type": "adaptive"}}


@pytest.fixture(scope="module")
def operation() -> dict[str, Any]:
    """The responses of the operation, with the schemas that they refer to."""
    path = os.environ.get("MESSAGES_DESCRIPTION")
    if not path:
        pytest.skip("needs the description of the Messages API: MESSAGES_DESCRIPTION")
    pytest.importorskip("jsonschema")
    description = json.loads(Path(path).read_text())
    responses = description["paths"]["/v1/messages"]["post"]["responses"]
    return {"responses": responses, "components": description["components"]}


def list_faults(operation: dict[str, Any], status: str, content_type: str, value: Any) -> list[str]:
    """Return where a value breaks the schema of an answer."""
    import jsonschema

    schema = operation["responses"][status]["content"][content_type]["schema"]
    validator = jsonschema.Draft202012Validator({**schema, "components": operation["components"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


async def test_messages_are_as_described(gateway, alice, upstream, operation):
    whole = speech.chat_completion(None, finish="tool_calls", message=MESSAGE)
    upstream.queue_scripts(send_reply(whole))
    answer = await request_message(gateway, alice.key, **WANTED)
    assert [block["type"] for block in answer.json["content"]] == ["thinking", "text", "tool_use"]
    assert list_faults(operation, "200", "application/json", answer.json) == []


async def test_errors_are_as_described(gateway, alice, operation):
    answer = await request_message(gateway, alice.key, max_tokens=None)
    assert list_faults(operation, "400", "application/json", answer.json) == []


@pytest.mark.parametrize("end", [DONE, CUT])
async def test_events_are_as_described(gateway, alice, upstream, operation, end):
    chunks = [
        speech.chat_chunk({"role": "assistant", "reasoning_content": "Hm."}),
        speech.chat_chunk({"content": "I look."}),
        speech.chat_chunk({"tool_calls": [{"index": 0, **CALL}]}),
        speech.chat_chunk(finish="tool_calls"),
        speech.usage_chunk(),
    ]
    upstream.queue_scripts(send_stream(*(chunks if end == DONE else chunks[:2]), end))
    answer = await request_message(gateway, alice.key, stream=True, **WANTED)
    events = read_events(answer.body)
    assert events[-1]["type"] == ("message_stop" if end == DONE else "error")
    for event in events:
        if event.get("delta", {}).get("type") == "signature_delta":
            continue  # Anthropic documents it, and the description, which is narrow, lacks it
        assert list_faults(operation, "200", "text/event-stream", event) == [], event
