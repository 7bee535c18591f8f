"""Answers of K2-Think without any tag: answers of any length, and streamed where that is known."""

import pytest

from api.tests.endpoints.k2think.k2think_site import (
    join_reasoning,
    read_message,
    request_k2think,
    send_snapshots,
)
from proxysite.testing.upstream import send_stream

STORY = "Once upon a time there was a story. " * 500
INSTRUCTIONS = [{"role": "system", "content": "Tell."}, {"role": "user", "content": "A story!"}]
QUESTION = [{"role": "user", "content": "A story!"}]
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]


@pytest.mark.parametrize("messages", [INSTRUCTIONS, QUESTION], ids=["instructions", "question"])
@pytest.mark.parametrize("how", ["parsed", "hidden", "raw"])
async def test_a_long_untagged_text_is_the_answer(gateway, upstream, alice, messages, how):
    upstream.set_default_script(
        send_snapshots(*(STORY[:end] for end in range(1_000, len(STORY), 1_000)), STORY)
    )
    whole = await request_k2think(gateway, alice, messages=messages, reasoning_format=how)
    streamed = await request_k2think(
        gateway, alice, messages=messages, reasoning_format=how, stream=True
    )
    assert whole.text == streamed.text == STORY
    assert "reasoning_content" not in read_message(whole)
    assert join_reasoning(streamed) == ""
    assert streamed.finish_reasons == ["stop"]


@pytest.mark.parametrize(
    "fields",
    [{"messages": INSTRUCTIONS}, {"messages": QUESTION, "tools": TOOLS}],
    ids=["instructions", "tools"],
)
async def test_it_streams_where_the_caller_s_instructions_switch_the_tags_off(
    gateway, upstream, alice, fields
):
    upstream.queue_scripts(
        send_stream({"content": "Once upon "}, upstream.gate, {"content": "Once upon a"}, "done")
    )
    async with gateway.open_stream(alice.key, model="MBZUAI-IFM/K2-Think-v2", **fields) as reading:
        await reading.read_until("Once")
        upstream.gate.open()
        answer = await reading.read_rest()
    assert answer.text == "Once upon a"
