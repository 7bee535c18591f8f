"""What a caller gets of Gemini's answers: thoughts, counts, reasons of their end, citations."""

import pytest

from api.tests.endpoints.gemini.gemini_answers import (
    COUNTS,
    SIGNATURE,
    answer_with,
    make_event,
    text_part,
)
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel
from proxysite.testing import rows
from proxysite.testing.upstream import send_reply, send_stream

STREAMED = pytest.mark.parametrize("streams", [True, False])
THOUGHTS = (
    make_event(text_part("Hmm, ", thought=True)),
    make_event(text_part("well.", thought=True)),
    make_event(text_part("Hello")),
    make_event(text_part(" there"), text_part("", thoughtSignature=SIGNATURE), finish="STOP"),
)


def request_chat(gateway, key, streams, **body):
    options = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
    return gateway.request_chat(key, **options, **body)


def fold(answer, name):
    """Return one field of the message, its pieces joined."""
    if "choices" in (answer.json if "json" in answer.headers["content-type"] else {}):
        return answer.json["choices"][0]["message"].get(name)
    deltas = [choice["delta"] for event in answer.events for choice in event["choices"]]
    values = [delta[name] for delta in deltas if delta.get(name)]
    if not values:
        return None
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def finish_of(answer):
    if "json" in answer.headers["content-type"]:
        return answer.json["choices"][0]["finish_reason"]
    (reason,) = answer.finish_reasons
    return reason


def usage_of(answer):
    return (answer.json if "json" in answer.headers["content-type"] else answer.events[-1])["usage"]


@STREAMED
async def test_thoughts_text_and_signature(gateway, upstream, alice, token, streams):
    usage = {
        "promptTokenCount": 12,
        "cachedContentTokenCount": 8,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 7,
        "totalTokenCount": 24,
    }
    events = [event | {"usageMetadata": usage} for event in THOUGHTS]
    upstream.queue_scripts(answer_with(*events, streams=streams))
    answer = await request_chat(gateway, alice.key, streams)
    assert fold(answer, "content") == "Hello there"
    assert fold(answer, "reasoning_content") == "Hmm, well."
    details = fold(answer, "reasoning_details")
    assert details == [
        {
            "type": "reasoning.encrypted",
            "data": SIGNATURE,
            "format": "google-gemini-v1",
            "index": 0,
        }
    ]
    assert finish_of(answer) == "stop"
    assert usage_of(answer) == {
        "prompt_tokens": 12,
        "completion_tokens": 12,
        "total_tokens": 24,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    # the signature goes back on the text
    upstream.queue_scripts(answer_with(make_event(text_part("Yes."), finish="STOP"), streams=False))
    earlier = {"role": "assistant", "content": "Hello there", "reasoning_details": details}
    messages = [
        {"role": "user", "content": "Hi"},
        earlier,
        {"role": "user", "content": "Sure?"},
    ]
    assert (await gateway.request_chat(alice.key, messages=messages)).text == "Yes."
    model_content = upstream.requests[-1].json["contents"][1]
    assert model_content["parts"] == [{"text": "Hello there", "thoughtSignature": SIGNATURE}]


@STREAMED
@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("OTHER", "stop"),
        ("A_NEW_ONE", "stop"),
    ],
)
async def test_why_an_answer_ended(gateway, upstream, alice, token, streams, reason, shown):
    upstream.queue_scripts(
        answer_with(make_event(text_part("Well")), make_event(finish=reason), streams=streams)
    )
    answer = await request_chat(gateway, alice.key, streams)
    assert (fold(answer, "content"), finish_of(answer)) == ("Well", shown)
    assert usage_of(answer) == COUNTS


@STREAMED
@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER"])
async def test_an_unusable_answer_is_asked_for_again(
    gateway, upstream, alice, provider, token, streams, reason
):
    await run_in_thread(rows.create_tokens, provider, "sk-up-2")
    await gateway.reload_rows()
    upstream.queue_scripts(
        answer_with(make_event(finish=reason, finishMessage="Bad call."), streams=streams),
        answer_with(make_event(text_part("Hi"), finish="STOP"), streams=streams),
    )
    answer = await request_chat(gateway, alice.key, streams)
    assert fold(answer, "content") == "Hi"
    assert len(upstream.requests) == 2


@STREAMED
async def test_a_blocked_prompt_is_a_refusal(gateway, upstream, alice, token, streams):
    event = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
    }
    upstream.queue_scripts(send_stream(event) if streams else send_reply(event))
    answer = await request_chat(gateway, alice.key, streams)
    assert answer.status == 200
    assert fold(answer, "refusal") == "The upstream blocked the prompt: PROHIBITED_CONTENT."
    assert not fold(answer, "content")
    assert finish_of(answer) == "content_filter"
    assert usage_of(answer)["prompt_tokens"] == 9


@STREAMED
async def test_an_answer_without_its_end_is_an_error(gateway, upstream, alice, token, streams):
    script = send_stream(make_event(text_part("Hel"))) if streams else send_reply({})
    upstream.set_default_script(script)
    answer = await request_chat(gateway, alice.key, streams)
    if streams:
        assert answer.events[-1]["error"]["code"] == "upstream_disconnected"
    else:
        assert answer.error["code"] == "bad_upstream_response"


@STREAMED
async def test_a_grounded_answer_has_citations_at_their_characters(
    gateway, upstream, alice, token, streams
):
    grounding = {
        "webSearchQueries": ["x"],
        "groundingChunks": [
            {"web": {"uri": "https://a.example/", "title": "a.example"}},
            {"web": {"uri": "https://b.example/"}},
            {"web": {"uri": "javascript:alert(1)"}},
        ],
        "groundingSupports": [
            {"segment": {"startIndex": 7, "endIndex": 12}, "groundingChunkIndices": [0, 2]}
        ],
    }
    upstream.queue_scripts(
        answer_with(
            make_event(text_part("Ünï, ")),  # two letters of two bytes
            make_event(text_part("sunny."), finish="STOP", groundingMetadata=grounding),
            streams=streams,
        )
    )
    answer = await request_chat(gateway, alice.key, streams, web_search_options={})
    assert upstream.requests[0].json["tools"] == [{"googleSearch": {}}]
    first, second = [entry["url_citation"] for entry in fold(answer, "annotations")]
    text = fold(answer, "content")
    assert text[first["start_index"] : first["end_index"]] == "sunny"
    assert (first["url"], first["title"]) == ("https://a.example/", "a.example")
    assert (second["url"], second["start_index"]) == ("https://b.example/", len(text))


async def test_several_choices_and_log_probabilities(gateway, upstream, alice, token):
    def candidate(index, text):
        token_entry = {"token": text, "tokenId": 7, "logProbability": -0.5}
        return {
            "content": {"parts": [{"text": text}], "role": "model"},
            "index": index,
            "finishReason": "STOP",
            "logprobsResult": {
                "chosenCandidates": [token_entry],
                "topCandidates": [{"candidates": [token_entry]}],
            },
        }

    upstream.queue_scripts(send_reply({"candidates": [candidate(0, "A"), candidate(1, "B")]}))
    answer = await gateway.request_chat(alice.key, n=2, logprobs=True, top_logprobs=1)
    assert [choice["message"]["content"] for choice in answer.json["choices"]] == ["A", "B"]
    (entry,) = answer.json["choices"][1]["logprobs"]["content"]
    alternative = {"token": "B", "logprob": -0.5, "bytes": [66]}
    assert entry == alternative | {"top_logprobs": [alternative]}
    config = upstream.requests[0].json["generationConfig"]
    assert (config["candidateCount"], config["responseLogprobs"], config["logprobs"]) == (
        2,
        True,
        1,
    )


async def test_search_of_a_row_gives_way_to_functions(gateway, upstream, alice, token):
    await run_in_thread(ChatModel.objects.update, search="on")
    await gateway.reload_rows()
    done = answer_with(make_event(text_part("Hi"), finish="STOP"), streams=False)
    upstream.set_default_script(done)
    tool = {"type": "function", "function": {"name": "f"}}
    await gateway.request_chat(alice.key)
    await gateway.request_chat(alice.key, tools=[tool])
    plain, with_function = [request.json["tools"] for request in upstream.requests]
    assert plain == [{"googleSearch": {}}]
    assert with_function == [{"functionDeclarations": [{"name": "f"}]}]
