"""A request of the Messages API takes the path of a chat completion: ledger, limits, upstreams."""

import pytest

from api.tests.endpoints.messages.conftest import VERSION, receive_message, request_message
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from api.tests.messages.message_events import build_streamed_message, read_events
from providers.database.database_threads import run_in_thread
from providers.protocol.request import ANTHROPIC
from providers.upstream.base_adapter import BaseAdapter
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, Gate, answer_honestly, send_reply, send_stream

MARK = {"type": "ephemeral"}
SYSTEM = [
    {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=abc;"},
    {"type": "text", "text": "Be brief.", "cache_control": MARK},
]
TOOL = {"name": "look", "input_schema": {"type": "object"}, "cache_control": MARK}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
THINKING = {"type": "adaptive"}


@pytest.fixture
def native(monkeypatch):
    """Let all upstreams be such as take bodies in Anthropic's dialect."""
    monkeypatch.setattr(BaseAdapter, "original_dialect", ANTHROPIC)


async def test_its_usage_record_names_the_endpoint(gateway, alice):
    headers = {"user-agent": "claude-cli/2.1.197 (external, cli)"}
    assert (await request_message(gateway, alice.key, headers)).status == 200
    record = await rows.read_only_usage_record()
    assert record.endpoint == "messages"
    assert record.client == "Claude Code"
    assert (record.prompt_tokens, record.completion_tokens) == (9, 3)


async def test_a_query_is_passed_over(gateway, alice):
    answer = await request_message(gateway, alice.key, path="/v1/messages?beta=true")
    assert answer.status == 200


async def test_a_key_with_a_default_model_needs_no_model(gateway, alice):
    def set_default():
        alice.row.default_model = "m"
        alice.row.save()

    await run_in_thread(set_default)
    await gateway.reload_rows()
    assert (await request_message(gateway, alice.key, model=None)).json["model"] == "m"


async def test_an_unknown_upstream_gets_no_marks_of_anthropics(gateway, alice, upstream):
    body = {"system": SYSTEM, "tools": [TOOL], "thinking": THINKING}
    body["output_config"] = {"effort": "max"}
    body["context_management"] = {"edits": []}
    answer = await request_message(gateway, alice.key, **body)
    assert "context_management" in answer.headers["x-proxysite-omitted"]
    sent = upstream.last_exchange.request.json
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert "cache_control" not in sent["tools"][0]
    assert sent["reasoning_effort"] == "high"
    assert not {"thinking", "context_management", "system", "metadata"} & sent.keys()


@pytest.mark.parametrize(
    ("profile", "content", "thinking"),
    [
        ("openrouter", [{"type": "text", "text": "Be brief.", "cache_control": MARK}], None),
        ("deepseek", "Be brief.", {"type": "enabled"}),
    ],
)
async def test_other_upstreams_get_what_they_know(
    gateway, provider, alice, upstream, profile, content, thinking
):
    provider.dialect = profile
    await run_in_thread(provider.save)
    await gateway.reload_rows()
    await receive_message(gateway, alice.key, streams=False, system=SYSTEM, thinking=THINKING)
    sent = upstream.last_exchange.request.json
    assert sent["messages"][0]["content"] == content
    assert sent.get("thinking") == thinking


@pytest.mark.settings(PING_SECONDS=0.05)
async def test_silence_is_filled_with_ping_events(gateway, alice, upstream):
    gate = Gate()
    chunks = speech.streamed_completion("Hello")
    upstream.queue_scripts(send_stream(chunks[0], gate, *chunks[1:], DONE))
    headers = {"x-api-key": alice.key} | VERSION
    body = {"model": "m", "max_tokens": 9, "stream": True, "messages": speech_hello()}
    async with gateway._http.stream("POST", "/v1/messages", json=body, headers=headers) as answer:
        data = b""
        async for piece in answer.aiter_raw():
            data += piece
            if b"event: ping" in data:
                gate.open()
    events = read_events(data)
    assert "ping" in {event["type"] for event in events}
    assert build_streamed_message(events)["content"] == [{"type": "text", "text": "Hello"}]


def speech_hello():
    return [{"role": "user", "content": "Hello!"}]


# --- what only Anthropic's upstreams can do -------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, "tools.0"),
        ({"tools": [SEARCH]}, "tools.0"),
        ({"container": {"skills": []}}, "container"),
        ({"mcp_servers": [{"type": "url", "url": "https://a.example"}]}, "mcp_servers"),
        ({"thread": {"type": "create"}}, "thread"),
    ],
)
async def test_it_is_refused_by_its_name_elsewhere(gateway, alice, upstream, fields, place):
    answer = await request_message(gateway, alice.key, **fields)
    assert answer.status == 400
    assert answer.json["error"]["message"].startswith(f"{place}: ")
    assert upstream.requests == []


async def test_a_thread_is_refused_with_the_code_that_clients_know(gateway, alice):
    answer = await request_message(gateway, alice.key, thread={"type": "create"})
    assert answer.json["error"]["details"] == {"error_code": "thread_unsupported_request"}


@pytest.mark.usefixtures("native")
async def test_it_is_passed_on_where_an_upstream_speaks_the_dialect(gateway, alice):
    answer = await request_message(gateway, alice.key, thread={"type": "create"})
    assert answer.status == 200


async def test_a_web_search_runs_where_the_model_can_search(gateway, provider, alice, upstream):
    def switch_on():
        row = provider.models.get()
        row.search = "on"
        row.save()

    await run_in_thread(switch_on)
    await gateway.reload_rows()
    note = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
    message = {"content": "It rains.", "annotations": [note]}
    upstream.queue_scripts(send_reply(speech.chat_completion(None, message=message)))
    answer = await request_message(gateway, alice.key, tools=[SEARCH])
    assert answer.status == 200, answer.body
    assert upstream.last_exchange.request.json["web_search_options"] == {}
    (block,) = answer.json["content"]
    assert block["citations"][0]["url"] == "https://a.example"
    limited = SEARCH | {"allowed_domains": ["a.example"]}
    answer = await request_message(gateway, alice.key, tools=[limited])
    assert answer.json["error"]["message"].startswith("tools.0.allowed_domains: ")


# --- counts and models ----------------------------------------------------------------------------
async def test_tokens_are_counted_here(gateway, alice, upstream):
    body = {"max_tokens": None, "system": SYSTEM, "tools": [TOOL]}
    path = "/v1/messages/count_tokens"
    answer = await request_message(gateway, alice.key, path=path, **body)
    assert answer.status == 200, answer.body
    assert answer.json.keys() == {"input_tokens"}
    assert 5 < answer.json["input_tokens"] < 60
    assert upstream.requests == []
    answer = await request_message(gateway, alice.key, path=path, messages=[])
    assert answer.json["error"]["type"] == "invalid_request_error"


async def test_tokens_are_counted_by_an_upstream_that_can(gateway, alice, monkeypatch):
    async def count(adapter, request, model, credential):
        assert request.original.body["messages"] == speech_hello()
        return len(credential.secret)

    monkeypatch.setattr(BaseAdapter, "count_prompt_tokens", count)
    answer = await request_message(gateway, alice.key, path="/v1/messages/count_tokens")
    assert answer.json == {"input_tokens": len("sk-up-1")}


async def test_models_have_anthropics_form_for_its_clients(gateway, provider, alice):
    await run_in_thread(lambda: [rows.create_model(provider, name) for name in ("a", "b", "c")])
    await gateway.reload_rows()
    headers = {"x-api-key": alice.key} | VERSION

    async def get(path):
        return await gateway.send_request("GET", path, headers=headers)

    first = (await get("/v1/models?limit=2")).json
    assert [model["id"] for model in first["data"]] == ["a", "b"]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, "a", "b")
    assert first["data"][0]["type"] == "model"
    rest = (await get("/v1/models?after_id=b")).json
    assert [model["id"] for model in rest["data"]] == ["c", "m"]
    assert rest["has_more"] is False
    back = (await get("/v1/models?before_id=m&limit=2")).json
    assert [model["id"] for model in back["data"]] == ["b", "c"]
    assert back["has_more"] is True
    one = await get("/v1/models/m")
    assert one.json["display_name"] == "m"
    missing = await get("/v1/models/nothing")
    assert missing.json["error"]["type"] == "not_found_error"
    assert missing.json["request_id"] == missing.headers["request-id"]
    wrong = await get("/v1/models?limit=x")
    assert wrong.json["error"]["type"] == "invalid_request_error"
    plain = await gateway.send_request("GET", "/v1/models", alice.key)
    assert plain.json["object"] == "list"


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("strategy", ["stepwise", "multipath"])
async def test_strategies_answer_messages_too(
    gateway, provider, alice, upstream, strategy, streams
):
    await run_in_thread(lambda: rows.create_virtual_model("v", "m", strategy))
    await gateway.reload_rows()
    message = await receive_message(
        gateway, alice.key, streams=streams, model="v", thinking=THINKING, max_tokens=4000
    )
    assert message["model"] == "v"
    assert "Hello there!" in "".join(block.get("text", "") for block in message["content"])
    assert message["stop_reason"] == "end_turn"
    assert len(upstream.requests) > 1


async def test_documents_reach_the_upstream_as_texts(gateway, alice, upstream):
    upstream.queue_scripts(answer_honestly("Read."))
    source = {"type": "base64", "media_type": "text/plain", "data": "SGVsbG8="}
    block = {"type": "document", "source": source, "title": "a.txt"}
    messages = [{"role": "user", "content": [block, {"type": "text", "text": "Read it."}]}]
    await receive_message(gateway, alice.key, streams=False, messages=messages)
    (message,) = upstream.last_exchange.request.json["messages"]
    assert message["content"][0]["text"] == "[File: a.txt]\nHello\n[End of the file a.txt]"
