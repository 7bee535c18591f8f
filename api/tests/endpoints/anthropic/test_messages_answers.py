"""Chat completions of a model behind Anthropic's Messages API."""

from proxysite.testing.anthropic_speech import (
    answer_message,
    count_usage,
    text_block,
)

USAGE = count_usage(5, 7, cache_read_input_tokens=100, cache_creation_input_tokens=20)


async def test_a_streamed_answer_comes_as_chunks_with_usage(gateway, alice, upstream):
    upstream.queue_scripts(answer_message(text_block("Hello, dear world."), usage=USAGE))
    answer = await gateway.request_chat(
        alice.key, stream=True, stream_options={"include_usage": True}
    )
    assert answer.text == "Hello, dear world."
    assert answer.finish_reasons == ["stop"]
    assert answer.is_complete
    usage = answer.events[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (125, 7)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 100, "cache_write_tokens": 20}
    request = upstream.last_exchange.request
    assert request.path == "/v1/messages"
    assert request.headers["x-api-key"] == "sk-up-1"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in request.headers
    assert request.json["model"] == "claude-opus-4-8"
    assert request.json["max_tokens"] == 128_000
