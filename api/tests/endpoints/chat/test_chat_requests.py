"""What the upstream of a chat completion is asked."""

import pytest

from api.tests.endpoints.chat.offered_tools import TOOLS


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_the_upstream_is_asked_with_its_own_model_and_token_and_nothing_of_the_callers(
    gateway, upstream, alice, streams
):
    headers = {
        "cookie": "session=1",
        "x-forwarded-for": "1.2.3.4",
        "openai-organization": "org",
        "x-evil": "1",
    }
    await gateway.request_chat(alice.key, stream=streams, headers=headers)
    asked = upstream.requests[0]
    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions")
    assert asked.bearer_token == "sk-up-1"
    assert asked.json["model"] == "upstream-model"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["content-type"] == "application/json"
    assert (
        not {"cookie", "x-forwarded-for", "openai-organization", "x-evil", "x-request-id"}
        & asked.headers.keys()
    )
    assert alice.key.encode() not in asked.head + asked.body


async def test_every_other_field_reaches_the_upstream_as_it_is(gateway, upstream, alice):
    sent = {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": "Grüß Gott 🙂 \u2028", "name": "ann", "x_vendor": [1]},
        ],
        "temperature": 0.5,
        "max_completion_tokens": 7,
        "seed": 3,
        "stop": ["END"],
        "logit_bias": {"50256": -100},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "s", "schema": {"type": "object"}},
        },
        "tools": TOOLS,
        "tool_choice": "required",
        "metadata": {"a": "b"},
        "x_unknown": {"deep": [None, True, 1.5]},
        "thinking": {"type": "enabled"},
    }
    assert (await gateway.request_chat(alice.key, **sent)).status == 200
    asked = upstream.requests[0].json
    assert {name: asked[name] for name in sent} == sent
    assert asked.keys() == sent.keys() | {"model"}


async def test_fields_that_are_null_are_as_good_as_absent(gateway, upstream, alice):
    fields = (
        "temperature",
        "top_p",
        "n",
        "stop",
        "stream",
        "stream_options",
        "max_tokens",
        "seed",
        "user",
        "tools",
    )
    more = (
        "tool_choice",
        "logprobs",
        "top_logprobs",
        "response_format",
        "logit_bias",
        "metadata",
        "reasoning_effort",
    )
    answer = await gateway.request_chat(alice.key, **dict.fromkeys((*fields, *more)))
    assert answer.status == 200
    assert answer.text == "Hello there!"


async def test_parts_of_all_kinds_reach_the_upstream(gateway, upstream, alice):
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "ms://1"}},
    ]
    messages = [{"role": "user", "content": parts}]
    assert (await gateway.request_chat(alice.key, messages=messages)).status == 200
    assert upstream.requests[0].json["messages"] == messages


async def test_a_conversation_with_tools_reaches_the_upstream(gateway, upstream, alice):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call],
            "reasoning_content": "hm",
            "partial": True,
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny", "name": "weather"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "refusal": "no"},
        {"role": "user", "content": ""},
    ]
    assert (await gateway.request_chat(alice.key, messages=messages, tools=TOOLS)).status == 200
    assert upstream.requests[0].json["messages"] == messages


async def test_our_own_fields_stay_here(gateway, upstream, alice):
    await gateway.request_chat(alice.key, conversation_id="c", session_id="c", store=False)
    assert upstream.requests[0].json.keys() == {"model", "messages"}
