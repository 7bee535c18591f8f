"""Responses reach upstreams that refuse what they do not know: OpenAI's gpt-5 (F2), DeepSeek V4
(F7, F8). Both scripts refuse what the services' published errors refuse.
"""

from typing import Any

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, Provider
from proxysite.testing import speech
from proxysite.testing.upstream import Exchange, Script, answer_honestly, send_refusal, send_reply

GPT5_FIELDS = frozenset(
    """
    model messages stream stream_options max_completion_tokens tools tool_choice
    parallel_tool_calls reasoning_effort verbosity service_tier prompt_cache_key user metadata
    store safety_identifier response_format
    """.split()
)
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
CODEX_TOOLS = [TOOL, {"type": "web_search", "external_web_access": True}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


async def answer_as_gpt5(exchange: Exchange) -> None:
    """Answer a body of known fields; refuse any other one by name."""
    unknown = sorted(exchange.request.json.keys() - GPT5_FIELDS)
    if unknown:
        text = f"Unsupported parameter: '{unknown[0]}' is not supported with this model."
        await send_refusal(400, text, "unsupported_parameter")(exchange)
        return
    await answer_honestly()(exchange)


def answer_as_deepseek_v4(answer: Script) -> Script:
    """Return a script that refuses the role developer, and answers without their thinking."""

    async def check_messages(exchange: Exchange) -> None:
        body = exchange.request.json
        messages = body["messages"]
        if any(message["role"] == "developer" for message in messages):
            await send_refusal(400, "messages[0].role: unknown variant `developer`")(exchange)
            return
        answers = [message for message in messages if message["role"] == "assistant"]
        if body.get("tools") and not all(one.get("reasoning_content") for one in answers):
            text = "The `reasoning_content` in the thinking mode must be passed back to the API."
            await send_refusal(400, text)(exchange)
            return
        await answer(exchange)

    return check_messages


async def name_upstream(gateway: Any, dialect: str, upstream_name: str) -> None:
    def change_rows() -> None:
        Provider.objects.update(dialect=dialect)
        ChatModel.objects.update(upstream_name=upstream_name)

    await run_in_thread(change_rows)
    await gateway.reload_rows()


async def send_response(gateway: Any, person: Any, **body: Any) -> Any:
    return await gateway.send_request(
        "POST", "/v1/responses", person.key, json={"model": "m"} | body
    )


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_codex_is_answered_by_gpt5(gateway, upstream, alice, streams):
    await name_upstream(gateway, "openai", "gpt-5")
    upstream.set_default_script(answer_as_gpt5)
    answer = await send_response(
        gateway,
        alice,
        input=[{"type": "message", "role": "developer", "content": "Be brief."}],
        instructions="You are Codex.",
        max_output_tokens=100,
        tools=CODEX_TOOLS,
        client_metadata={"x": "y"},
        include=["reasoning.encrypted_content"],
        stream=streams,
    )
    assert answer.status == 200
    body = upstream.requests[0].json
    assert len(upstream.requests) == 1
    assert body["max_completion_tokens"] == 100
    assert [message["role"] for message in body["messages"]][-1] == "developer"


async def test_codex_is_answered_by_deepseek_v4_over_three_turns(gateway, upstream, alice):
    await name_upstream(gateway, "deepseek", "deepseek-v4-pro")
    upstream.set_default_script(answer_as_deepseek_v4(answer_honestly()))
    called = speech.chat_completion("")
    called["choices"][0] |= {"finish_reason": "tool_calls"}
    called["choices"][0]["message"] |= {
        "content": None,
        "reasoning_content": "Look it up.",
        "tool_calls": [CALL],
    }
    upstream.queue_scripts(answer_as_deepseek_v4(send_reply(called)))
    developer = {"type": "message", "role": "developer", "content": "Be brief."}
    question = {"type": "message", "role": "user", "content": "How is it?"}
    first = await send_response(gateway, alice, input=[developer, question], tools=CODEX_TOOLS)
    output = {"type": "function_call_output", "call_id": "call_1", "output": "Sunny"}
    second = await send_response(
        gateway, alice, input=[output], tools=CODEX_TOOLS, previous_response_id=first.json["id"]
    )
    third = await send_response(
        gateway,
        alice,
        input="And now?",
        tools=CODEX_TOOLS,
        previous_response_id=second.json["id"],
    )
    assert [one.status for one in (first, second, third)] == [200, 200, 200]
    thoughts = [
        message["reasoning_content"]
        for message in upstream.requests[-1].json["messages"]
        if message["role"] == "assistant"
    ]
    assert thoughts == ["Look it up.", " "]
