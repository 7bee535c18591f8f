"""Ids of files that an upstream keeps belong to the operator's account, not to callers."""

import pytest

from api.tests.endpoints.anthropic.conftest import provider
from api.tests.endpoints.messages.conftest import request_message

__all__ = ["provider"]  # a fixture

FILE = {"type": "document", "source": {"type": "file", "file_id": "file_of_the_operator"}}
CALL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
IMAGE = {"type": "image", "source": {"type": "file", "file_id": "file_of_the_operator"}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}
NESTED = {"type": "document", "source": {"type": "content", "content": [IMAGE]}}
UPLOAD = {"type": "container_upload", "file_id": "file_of_the_operator"}
BODIES = {
    "document": [{"role": "user", "content": [FILE]}],
    "nested": [{"role": "user", "content": [NESTED]}],
    "result": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [RESULT]},
    ],
    "container": [{"role": "user", "content": [UPLOAD]}],
}
TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]


@pytest.mark.parametrize("name", BODIES)
async def test_a_file_of_the_upstream_is_not_read_by_a_message(gateway, upstream, alice, name):
    answer = await request_message(gateway, alice.key, messages=BODIES[name], tools=TOOLS)
    assert answer.status in (400, 404), answer.body
    assert upstream.requests == []


@pytest.mark.parametrize("name", BODIES)
async def test_a_file_of_the_upstream_is_not_counted(gateway, upstream, alice, name):
    path = "/v1/messages/count_tokens"
    answer = await request_message(
        gateway, alice.key, path=path, messages=BODIES[name], tools=TOOLS, max_tokens=None
    )
    assert answer.status in (200, 400), answer.body
    assert upstream.requests == []


@pytest.mark.parametrize("name", ["anthropic-beta", "anthropic-version"])
@pytest.mark.parametrize("value", ["b\xe9ta", "a\tb", "x" * 5_000])
async def test_odd_headers_are_no_fault_of_ours(gateway, upstream, alice, name, value):
    answer = await request_message(gateway, alice.key, headers={name: value.encode("latin-1")})
    assert answer.status in (200, 400), answer.body
