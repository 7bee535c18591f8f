"""Bodies that are no JSON or have wrong fields reach no upstream."""

import json
from itertools import product

import pytest

from proxysite.testing import rows
from proxysite.testing.gateway import HELLO, build_raw_request_head
from proxysite.testing.upstream import send_reply

CHAT = "/v1/chat/completions"
GOOD = json.dumps({"model": "m", "messages": HELLO}).encode()
NOT_JSON = {
    "empty": b"",
    "no json": b"hello",
    "cut": GOOD[:-1],
    "two values": GOOD + GOOD,
    "comma": GOOD[:-1] + b",}",
    "single quotes": b"{'model': 'm'}",
    "bad utf-8": GOOD.replace(b"Hello!", b"\xff\xfe"),
    "latin-1": GOOD.replace(b"Hello!", "Grüße".encode("latin-1")),
    "utf-16": GOOD.decode().encode("utf-16"),
    "lone surrogate": GOOD.replace(b"Hello!", b"\\ud800"),
    "raw NUL": GOOD.replace(b"Hello!", b"\0"),
    "NaN": GOOD[:-1] + b', "temperature": NaN}',
    "Infinity": GOOD[:-1] + b', "x": -Infinity}',
    "deep list": GOOD[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep object": GOOD[:-1] + b', "x": ' + b'{"a":' * 70 + b"1" + b"}" * 70 + b"}",
    "list": b"[]",
    "null": b"null",
    "text": b'"x"',
    "number": b"1",
}


async def test_what_is_no_json_object_is_a_400(gateway, upstream, alice, subtests):
    headers = {"content-type": "application/json"}
    for path, (name, body) in product((CHAT, "/v1/embeddings"), NOT_JSON.items()):
        with subtests.test(path=path, body=name):
            answer = await gateway.send_request(
                "POST", path, alice.key, content=body, headers=headers
            )
            assert answer.status == 400
            assert answer.error["type"] == "invalid_request_error"
            assert answer.error["code"] == "invalid_json"
            assert upstream.requests == []
            assert await rows.read_usage_records() == []


WRONG_FIELDS = [
    ({"model": None}, "model"),
    ({"model": ""}, "model"),
    ({"model": 5}, "model"),
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": ["Hello"]}, "messages"),
    ({"messages": [{}]}, "messages"),
    ({"messages": [{"role": "boss", "content": "x"}]}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [*HELLO, {"role": "user", "content": 5}]}, "messages"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].image_url",
    ),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "assistant"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages[0].content"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"n": 0}, "n"),
    ({"n": 10_000}, "n"),
    ({"n": 1.5}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_completion_tokens": 10**30}, "max_completion_tokens"),
    ({"presence_penalty": 5}, "presence_penalty"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": []}, "stream_options"),
    ({"logit_bias": {"1": 200}}, "logit_bias"),
    ({"top_logprobs": 5}, "top_logprobs"),
    ({"top_logprobs": 50, "logprobs": True}, "top_logprobs"),
    ({"stop": [1]}, "stop"),
    ({"tools": "weather"}, "tools"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"response_format": {"type": "xml"}}, "response_format"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"seed": "x"}, "seed"),
    ({"user": 5}, "user"),
    ({"metadata": {"a": 1}}, "metadata"),
    ({"x": 10**400}, None),
]


async def test_a_wrong_field_is_a_400_that_names_it(gateway, upstream, alice, subtests):
    for fields, param in WRONG_FIELDS:
        with subtests.test(fields=json.dumps(fields)[:60]):
            answer = await gateway.request_chat(alice.key, **fields)
            assert answer.status == 400
            assert answer.error["type"] == "invalid_request_error"
            if param is not None:
                assert answer.error["param"].startswith(param)
                assert answer.error["message"]
            assert upstream.requests == []
            assert await rows.read_usage_records() == []


@pytest.mark.parametrize("field", ["model", "messages"])
async def test_a_missing_field_is_named(gateway, upstream, alice, field):
    body = {"model": "m", "messages": HELLO}
    del body[field]
    answer = await gateway.send_request("POST", CHAT, alice.key, json=body)
    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (field, "missing_required_parameter")


async def test_a_field_that_would_choose_the_upstream_or_its_credential_is_refused(
    gateway, upstream, alice, subtests
):
    cases = [
        "api_base",
        "base_url",
        "api_key",
        "extra_headers",
        "extra_body",
        "headers",
        "custom_host",
        "organization",
    ]
    for field in cases:
        with subtests.test(field=field):
            body = {"model": "m", "messages": HELLO, field: "http://127.0.0.1:1/"}
            answer = await gateway.send_request("POST", CHAT, alice.key, json=body)
            assert answer.status == 400
            assert answer.error["param"] == field
            assert upstream.requests == []


async def test_numbers_that_json_allows_reach_the_upstream_as_json(gateway, upstream, alice):
    upstream.set_default_script(send_reply({"choices": [{"message": {"content": ""}}]}))
    for number in (b"1e400", b"-1e400", b"123456789012345678901234567890", b"1e-400", b"-0"):
        body = GOOD[:-1] + b', "x": ' + number + b"}"
        headers = {"content-type": "application/json"}
        answer = await gateway.send_request("POST", CHAT, alice.key, content=body, headers=headers)
        assert answer.status in (200, 400), number
        if answer.status == 200:
            assert b"Infinity" not in upstream.last_exchange.request.body
            assert isinstance(upstream.last_exchange.request.json["x"], int | float), number


async def test_a_body_is_not_needed_for_the_key_to_be_refused(gateway):
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head("sk-ps-unknown", 100))
        assert (await wire.receive_answer()).status == 401
