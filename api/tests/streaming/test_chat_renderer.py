from typing import Any

import orjson
import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from api.streaming.chat_renderer import ChatRenderer
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk, make_completion, make_delta, make_usage_chunk
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS, ChatRequest
from providers.protocol.trace import Trace
from providers.protocol.usage_meter import TokenUsage
from providers.wire.sse import DONE_EVENT, PING

ID = "0" * 31 + "7"


def trace(
    endpoint: str = CHAT, *, stream: bool = True, include_usage: bool = False, usage: Any = None
) -> Trace:
    request = ChatRequest(
        id=ID,
        endpoint=endpoint,
        model="public",
        body={},
        stream=stream,
        include_usage=include_usage,
    )
    asked = Trace(request)
    call = asked.meter.begin_call(request.body)
    call.attempt = Attempt("p", "m")
    call.attempt.record_end("answered")
    call.reported = usage
    return asked


def parsed(data: bytes) -> list[dict[str, Any]]:
    """The JSON of each SSE line; fails on anything that is no line of data."""
    events = data.split(b"\n\n")
    assert events.pop() == b""
    assert all(event.startswith(b"data: ") and b"\n" not in event for event in events)
    return [orjson.loads(event[6:]) for event in events]


def upstream_chunk(text: str, **more: Any) -> Chunk:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {
        "id": f"up-{text}",
        "object": "x",
        "created": 5,
        "model": "upstream",
        "choices": [choice],
        **more,
    }


# --- streams --------------------------------------------------------------------------------------
def test_all_chunks_have_one_id_model_and_time_whatever_the_upstream_said() -> None:
    renderer = ChatRenderer(trace())
    found = parsed(
        renderer.render_batch([upstream_chunk("a"), upstream_chunk("b")])
        + renderer.render_batch([upstream_chunk("c")])
    )
    assert {chunk["id"] for chunk in found} == {f"chatcmpl-{ID}"}
    assert {chunk["model"] for chunk in found} == {"public"}
    assert {chunk["object"] for chunk in found} == {"chat.completion.chunk"}
    assert len({chunk["created"] for chunk in found}) == 1
    assert found[0]["created"] > 1_700_000_000
    assert [chunk["choices"][0]["delta"]["content"] for chunk in found] == ["a", "b", "c"]
    for chunk in found:
        ChatCompletionChunk.model_validate(chunk)


def test_fields_of_the_upstream_that_we_do_not_know_go_through() -> None:
    [found] = parsed(
        ChatRenderer(trace()).render_batch(
            [upstream_chunk("a", vendor={"x": 1}, system_fingerprint="f")]
        )
    )
    assert (found["vendor"], found["system_fingerprint"]) == ({"x": 1}, "f")


@pytest.mark.parametrize(
    "text",
    ["\n", "a\r\nb", "\u2028\u2029\u0085", "🎈", '"\\', "data: [DONE]\n\n", "\0", "é" * 5_000],
)
def test_any_text_is_one_line_and_comes_out_exact(text: str) -> None:
    [found] = parsed(ChatRenderer(trace()).render_batch([upstream_chunk(text)]))
    assert found["choices"][0]["delta"]["content"] == text


def test_a_batch_that_says_nothing_is_nothing() -> None:
    assert ChatRenderer(trace()).render_batch([]) == b""
    assert (
        ChatRenderer(trace()).render_batch(
            [make_usage_chunk(trace().request, {"prompt_tokens": 1})]
        )
        == b""
    )


def test_usage_is_held_back_from_a_caller_who_did_not_ask_for_it() -> None:
    renderer = ChatRenderer(trace())
    [found] = parsed(renderer.render_batch([upstream_chunk("a", usage={"prompt_tokens": 3})]))
    assert "usage" not in found
    assert renderer.render_end() == DONE_EVENT == b"data: [DONE]\n\n"


def test_with_include_usage_every_chunk_has_null_and_one_more_has_the_figures() -> None:
    asked = trace(
        include_usage=True, usage={"prompt_tokens": 3, "completion_tokens": 5, "vendor": 1}
    )
    renderer = ChatRenderer(asked)
    asked.meter.counted = TokenUsage(3, 5)
    data = renderer.render_batch(
        [upstream_chunk("a", usage={"prompt_tokens": 3}), upstream_chunk("b")]
    )
    assert [chunk["usage"] for chunk in parsed(data)] == [None, None]
    end = renderer.render_end()
    assert end.endswith(DONE_EVENT)
    [last] = parsed(end.removesuffix(DONE_EVENT))
    reported = asked.meter.calls[0].reported
    assert (last["choices"], last["usage"]) == ([], reported | {"total_tokens": 8})
    assert (last["id"], last["model"], last["object"]) == (
        f"chatcmpl-{ID}",
        "public",
        "chat.completion.chunk",
    )
    ChatCompletionChunk.model_validate(last | {"usage": TokenUsage(3, 5).as_openai()})


def test_estimated_usage_is_what_we_counted_and_not_what_the_upstream_claimed() -> None:
    asked = trace(include_usage=True, usage={"prompt_tokens": -1})
    asked.meter.counted = TokenUsage(3, 5, estimated=True)
    [last] = parsed(ChatRenderer(asked).render_end().removesuffix(DONE_EVENT))
    assert last["usage"] == TokenUsage(3, 5).as_openai()


def test_a_streamed_legacy_completion_keeps_its_shape() -> None:
    choice = {"index": 0, "text": "a", "logprobs": None, "finish_reason": None}
    [found] = parsed(
        ChatRenderer(trace(COMPLETIONS)).render_batch(
            [{"object": "text_completion", "choices": [choice]}]
        )
    )
    assert (found["id"], found["object"], found["choices"]) == (
        f"cmpl-{ID}",
        "text_completion",
        [choice],
    )


def test_a_ping_is_a_comment() -> None:
    assert PING.startswith(b":")
    assert PING.endswith(b"\n\n")


# --- whole answers --------------------------------------------------------------------------------
def rendered(asked: Trace, answer: Chunk, counted: TokenUsage) -> dict[str, Any]:
    asked.meter.counted = counted
    found: dict[str, Any] = orjson.loads(ChatRenderer(asked).render_whole(answer))
    return found


def test_a_whole_answer_has_our_id_and_model_and_the_upstreams_usage() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8, "vendor": 1}
    asked = trace(stream=False, usage=usage)
    answer = make_completion(asked.request, {"content": "hi"}, usage) | {
        "id": "up",
        "model": "upstream",
        "vendor": 2,
    }
    found = rendered(asked, answer, TokenUsage(3, 5))
    ChatCompletion.model_validate(found)
    assert (found["id"], found["model"], found["object"]) == (
        f"chatcmpl-{ID}",
        "public",
        "chat.completion",
    )
    assert (found["usage"], found["vendor"]) == (usage, 2)


@pytest.mark.parametrize("claimed", [None, {}, {"prompt_tokens": -1}])
def test_a_whole_answer_without_usable_figures_gets_ours(claimed: dict[str, Any] | None) -> None:
    asked = trace(stream=False, usage=claimed)
    found = rendered(
        asked,
        make_completion(asked.request, {"content": "hi"}, claimed),
        TokenUsage(3, 5, estimated=True),
    )
    assert found["usage"] == TokenUsage(3, 5).as_openai()


def test_a_whole_legacy_completion_has_its_own_prefix() -> None:
    choice = {"index": 0, "text": "a", "logprobs": None, "finish_reason": "stop"}
    found = rendered(
        trace(COMPLETIONS, stream=False),
        {"object": "text_completion", "choices": [choice]},
        TokenUsage(1, 1),
    )
    Completion.model_validate(found)
    assert (found["id"], found["object"]) == (f"cmpl-{ID}", "text_completion")


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 3, "total_tokens": 3}])
def test_embeddings_have_a_model_and_usage_but_no_id(usage: dict[str, Any] | None) -> None:
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
    answer = {"object": "list", "data": data, "model": "upstream"} | (
        {"usage": usage} if usage else {}
    )
    found = rendered(
        trace(EMBEDDINGS, stream=False, usage=usage), answer, TokenUsage(3, estimated=usage is None)
    )
    CreateEmbeddingResponse.model_validate(found)
    assert found == {
        "object": "list",
        "data": data,
        "model": "public",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


def test_what_the_constructors_of_the_vocabulary_make_is_official() -> None:
    request = trace().request
    for chunk in (
        make_delta(request, role="assistant", content="a"),
        make_delta(request, finish_reason="stop"),
    ):
        ChatCompletionChunk.model_validate(chunk)
    ChatCompletionChunk.model_validate(make_usage_chunk(request, TokenUsage(1, 2).as_openai()))
    ChatCompletion.model_validate(
        make_completion(request, {"content": "a"}, TokenUsage(1, 2).as_openai())
    )


@pytest.mark.parametrize("fingerprint", [None, "fp_1"])
def test_a_fingerprint_that_is_null_is_left_out_of_chunks_and_whole_answers(
    fingerprint: str | None,
) -> None:
    wanted = {} if fingerprint is None else {"system_fingerprint": fingerprint}
    renderer = ChatRenderer(trace())
    chunks = [upstream_chunk(text, system_fingerprint=fingerprint) for text in ("a", "b")]
    for found in parsed(renderer.render_batch(chunks)):
        assert found.items() >= wanted.items()
        assert ("system_fingerprint" in found) is bool(wanted)
    asked = trace(stream=False)
    answer = make_completion(asked.request, {"content": "hi", "annotations": None}, {})
    found = rendered(asked, answer | {"system_fingerprint": fingerprint}, TokenUsage(3, 5))
    assert ("system_fingerprint" in found) is bool(wanted)
    assert "annotations" not in found["choices"][0]["message"]
