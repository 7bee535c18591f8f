"""The calls of the adapter: a caller's own Messages body, headers, models, counts of tokens."""

import json

import pytest

from providers.exceptions import BadResponse
from providers.protocol.chunks import NATIVE
from providers.protocol.request import UpstreamModel
from providers.tests.adapters.anthropic.message_calls import (
    ACCOUNT,
    KEY,
    OPUS,
    collect_chunks,
    make_original,
    make_request,
    open_adapter,
)
from proxysite.testing.anthropic_speech import (
    PING,
    answer_message,
    make_message,
    send_error,
    send_events,
    stream_message,
    text_block,
    thinking_block,
    tool_block,
)
from proxysite.testing.upstream import send_reply

BODY = {
    "model": "public",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "Hi"}],
    "something_new": {"kept": True},
}
MESSAGE = make_message(
    thinking_block("Hm 😀.", "sig=="),
    text_block("Hi"),
    tool_block("f", a=1),
    {"type": "something_new", "data": 1},
    stop="tool_use",
)
PAGES = [
    {"data": [{"id": "claude-b"}, {"id": "claude-a"}], "has_more": True, "last_id": "claude-a"},
    {"data": [{"id": "claude-c"}, {"id": "claude-1", "lifecycle": "retired"}], "has_more": False},
]


# --- a caller's own body --------------------------------------------------------------------------
async def test_a_messages_body_is_sent_as_it_came_but_for_the_model(upstream):
    upstream.set_default_script(answer_message())
    headers = (("anthropic-version", "2026-10-21"), ("anthropic-beta", "a-1,b-2"))
    async with open_adapter(upstream.url) as adapter:
        await collect_chunks(adapter, make_original(BODY, headers))
    request = upstream.last_exchange.request
    assert request.json == BODY | {"model": OPUS, "stream": False}
    assert request.headers["anthropic-version"] == "2026-10-21"
    assert request.headers["anthropic-beta"] == "a-1,b-2"


async def test_its_stream_carries_every_event_unchanged_and_in_order(upstream):
    events = stream_message(MESSAGE)
    events.insert(-1, PING)
    upstream.set_default_script(send_events(*events))
    async with open_adapter(upstream.url) as adapter:
        chunks = await collect_chunks(adapter, make_original(BODY, stream=True))
    assert [event for chunk in chunks for event in chunk.get(NATIVE, ())] == events
    assert chunks[-1]["usage"]["prompt_tokens"] == 9


async def test_its_whole_answer_carries_the_message(upstream):
    upstream.set_default_script(send_reply(MESSAGE))
    async with open_adapter(upstream.url) as adapter:
        (completion,) = await collect_chunks(adapter, make_original(BODY))
    assert completion[NATIVE] == MESSAGE
    assert completion["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_body_gets_no_events_of_the_upstream(upstream, stream):
    upstream.set_default_script(answer_message())
    async with open_adapter(upstream.url) as adapter:
        chunks = await collect_chunks(adapter, make_request(stream=stream))
    assert not any(NATIVE in chunk for chunk in chunks)


# --- headers --------------------------------------------------------------------------------------
async def test_an_accounts_token_is_a_bearer_token_with_its_beta(upstream):
    upstream.set_default_script(answer_message())
    row = {"anthropic-beta": "b-2, c-3", "anthropic-version": "2030-01-01", "x-team": "one"}
    headers = (("anthropic-beta", "a-1,b-2"),)
    async with open_adapter(upstream.url, headers=row) as adapter:
        await collect_chunks(adapter, make_original(BODY, headers), credential=ACCOUNT)
        await collect_chunks(adapter, make_request())
    account, key = (request.headers for request in upstream.requests)
    assert account["authorization"] == f"Bearer {ACCOUNT.secret}"
    assert "x-api-key" not in account
    assert account["anthropic-beta"] == "b-2,c-3,a-1,oauth-2025-04-20"
    assert (account["anthropic-version"], account["x-team"]) == ("2030-01-01", "one")
    assert (key["x-api-key"], key["anthropic-beta"]) == (KEY.secret, "b-2,c-3")
    assert key["user-agent"] == "proxysite"


# --- beside the path ------------------------------------------------------------------------------
async def test_all_pages_of_the_list_of_models_are_read(upstream):
    upstream.queue_scripts(*map(send_reply, PAGES))
    async with open_adapter(upstream.url) as adapter:
        assert await adapter.list_model_ids(KEY) == ["claude-a", "claude-b", "claude-c"]
    first, second = (request.path for request in upstream.requests)
    assert first == "/v1/models?limit=1000"
    assert second == "/v1/models?limit=1000&after_id=claude-a"


async def test_a_list_of_models_that_does_not_end_is_read_only_so_far(upstream):
    upstream.set_default_script(send_reply(PAGES[0]))
    async with open_adapter(upstream.url) as adapter:
        assert await adapter.list_model_ids(KEY) == ["claude-a", "claude-b"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("body", [{}, [], {"data": [1]}, {"data": [], "has_more": True}])
async def test_an_unreadable_list_of_models_is_an_error_or_empty(upstream, body):
    upstream.set_default_script(send_reply(body))
    async with open_adapter(upstream.url) as adapter:
        if body == {"data": [], "has_more": True}:
            assert await adapter.list_model_ids(KEY) == []
        else:
            with pytest.raises(BadResponse):
                await adapter.list_model_ids(KEY)


async def test_a_key_is_checked_by_the_list_of_models(upstream):
    upstream.queue_scripts(send_reply(PAGES[1]), send_error(401, "authentication_error"))
    async with open_adapter(upstream.url) as adapter:
        await adapter.probe_credential(KEY)
        with pytest.raises(Exception, match=r"No\."):
            await adapter.probe_credential(KEY)


async def test_the_upstream_counts_the_tokens_of_a_prompt(upstream):
    upstream.set_default_script(answer_message())
    model = UpstreamModel(OPUS)
    tool = {"type": "function", "function": {"name": "f"}}
    async with open_adapter(upstream.url) as adapter:
        request = make_request(tools=[tool], stop="x", stream=True)
        assert await adapter.count_prompt_tokens(request, model, KEY) == 42
        sent = upstream.last_exchange.request
        assert sent.path == "/v1/messages/count_tokens"
        assert sent.json.keys() == {"model", "messages", "tools"}
        original = make_original(BODY, (("anthropic-beta", "a-1"),))
        assert await adapter.count_prompt_tokens(original, model, KEY) == 42
    sent = upstream.last_exchange.request
    assert json.loads(sent.body) == {"model": OPUS, "messages": BODY["messages"]}
    assert sent.headers["anthropic-beta"] == "a-1"


async def test_an_unreadable_count_is_an_error(upstream):
    upstream.set_default_script(send_reply({"tokens": 3}))
    async with open_adapter(upstream.url) as adapter:
        with pytest.raises(BadResponse):
            await adapter.count_prompt_tokens(make_request(), UpstreamModel(OPUS), KEY)
