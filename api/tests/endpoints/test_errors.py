"""Everything that is no success is an OpenAI error object with a request id, and bad input reaches
no upstream.
"""

import json
from itertools import product

import pytest

from api.streaming.chat_renderer import ChatRenderer
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.gateway import HELLO, build_raw_request_head
from proxysite.testing.upstream import DONE, Gate, send_reply, send_stream

CHAT = "/v1/chat/completions"


# --- addresses, methods, content types ------------------------------------------------------------
UNKNOWN = [
    "/v1",
    "/v1/",
    "/v1/nothing",
    "/v1/chat",
    "/v1/chat/completions/",
    "/v1/models/",
    "/v1//models",
]


async def test_an_unknown_address_under_v1_is_a_404(gateway, alice, subtests):
    for method, path, key in product(
        ("GET", "POST", "DELETE", "OPTIONS"), UNKNOWN, (None, alice.key)
    ):
        with subtests.test(method=method, path=path, is_known=key is not None):
            answer = await gateway.send_request(method, path, key)
            assert answer.status == 404
            assert answer.error["type"] == "invalid_request_error"
            assert answer.error["code"] == "unknown_url"


async def test_an_unknown_address_elsewhere_is_a_404_of_the_same_form(gateway):
    answer = await gateway.send_request("GET", "/nothing/here")
    assert answer.status == 404
    assert answer.error["code"] == "unknown_url"


async def test_a_relaying_door_takes_post_only(gateway, alice, subtests):
    paths = (f"{CHAT}/cot", "/v1/completions", "/v1/embeddings", "/v1/responses")
    for method, path, key in product(("GET", "PUT", "PATCH", "DELETE"), paths, (None, alice.key)):
        with subtests.test(method=method, path=path, is_known=key is not None):
            answer = await gateway.send_request(method, path, key)
            assert answer.status == 405
            assert answer.headers["allow"] == "POST"
            assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m"])
async def test_the_list_of_models_is_only_read(gateway, alice, path):
    answer = await gateway.send_request("POST", path, alice.key, json={})
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]
    assert "POST" not in answer.headers["allow"]
    assert answer.error["type"] == "invalid_request_error"


async def test_head_and_options_have_no_surprises(gateway, alice):
    assert (
        await gateway.send_request("HEAD", CHAT, alice.key)
    ).status == 200  # the list of stored completions
    assert (await gateway.send_request("HEAD", "/v1/completions", alice.key)).status == 405
    options = await gateway.send_request("OPTIONS", "/v1/completions")
    assert options.status == 405
    assert options.headers["allow"] == "POST"
    assert (await gateway.send_request("HEAD", "/v1/models", alice.key)).status == 200


async def test_a_body_of_another_type_is_a_415(gateway, upstream, alice, subtests):
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json")
    for kind, path in product(kinds, (CHAT, "/v1/completions", "/v1/embeddings")):
        with subtests.test(kind=kind, path=path):
            answer = await gateway.send_request(
                "POST", path, alice.key, content=b"{}", headers={"content-type": kind}
            )
            assert answer.status == 415
            assert answer.error["type"] == "invalid_request_error"
            assert upstream.requests == []


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;x=y"]
)
async def test_json_may_be_called_by_all_its_names(gateway, upstream, alice, kind):
    body = json.dumps({"model": "m", "messages": HELLO}).encode()
    answer = await gateway.send_request(
        "POST", CHAT, alice.key, content=body, headers={"content-type": kind}
    )
    assert answer.status == 200


# --- a crash of ours ------------------------------------------------------------------------------
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_a_fault_of_ours_before_the_first_byte_is_a_500_that_tells_nothing(
    gateway, upstream, alice, monkeypatch, caplog, streams
):
    async def broken(*args):
        raise RuntimeError("secret-detail")
        yield

    monkeypatch.setattr("tokens.failover.loop.answer", broken)
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert answer.status == 500
    assert answer.error["type"] == "server_error"
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    row = await rows.read_only_usage_record()
    assert (row.status, row.http_status, row.error_code) == ("error", 500, "internal_error")
    assert "secret-detail" in caplog.text
    caplog.clear()


async def test_a_fault_of_ours_in_the_middle_of_a_stream_is_an_error_event(
    gateway, upstream, alice, monkeypatch, caplog
):
    real = ChatRenderer.render_batch

    def broken(self, batch):
        if any(choice["finish_reason"] for chunk in batch for choice in chunk["choices"]):
            raise RuntimeError("secret-detail")
        return real(self, batch)

    monkeypatch.setattr(ChatRenderer, "render_batch", broken)
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("one"), gate, speech.chat_chunk(finish="stop"), DONE)
    )
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until("one")
        gate.open()
        answer = await reading.read_rest()
    assert answer.stream_error["code"] == "internal_error"
    assert b"secret" not in answer.body
    assert len(await rows.read_usage_records()) == 1
    assert "secret-detail" in caplog.text
    caplog.clear()


async def test_a_fault_of_ours_at_the_other_doors_is_the_same_500(
    gateway, alice, monkeypatch, caplog
):
    def broken(*args):
        raise RuntimeError("secret-detail")

    monkeypatch.setattr("api.views.model_list.list_model_objects", broken)
    answer = await gateway.send_request("GET", "/v1/models", alice.key)
    assert answer.status == 500
    assert answer.error["type"] == "server_error"
    assert b"secret" not in answer.body
    caplog.clear()


async def test_a_model_that_names_a_missing_strategy_is_a_fault_of_ours(
    gateway, upstream, alice, provider, caplog
):
    await run_in_thread(rows.create_virtual_model, "odd", "m", "no_such_strategy")
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key, model="odd")
    assert answer.status == 500
    assert answer.error["type"] == "server_error"
    assert upstream.requests == []
    caplog.clear()


# --- bodies ---------------------------------------------------------------------------------------
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
