"""Everything that OpenAI documents for /v1/completions and /v1/embeddings, with its own client."""

import struct
from base64 import b64encode

import pytest

from api.tests.endpoints.model_requests import COMPLETIONS, EMBEDDINGS, request_model
from api.tests.endpoints.relayed.relayed_requests import open_client
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, PAUSE, send_reply, send_stream

LOGPROBS = {
    "tokens": ["Hi"],
    "token_logprobs": [-0.5],
    "top_logprobs": [{"Hi": -0.5}],
    "text_offset": [0],
}


def make_choice(index, text, finish_reason="stop", **fields):
    """Return one choice of a legacy completion."""
    return {"index": index, "text": text, "finish_reason": finish_reason, "logprobs": None} | fields


def make_completion(*choices, **fields):
    """Return a legacy completion with these choices."""
    return speech.text_completion("") | {"choices": list(choices)} | fields


async def test_several_prompts_have_several_choices_each(gateway, upstream, alice):
    choices = [make_choice(index, f"text {index}", logprobs=LOGPROBS) for index in range(4)]
    upstream.queue_scripts(send_reply(make_completion(*choices, usage=speech.token_usage(4, 8))))
    options = {
        "prompt": ["one", "two"],
        "n": 2,
        "best_of": 3,
        "echo": True,
        "logprobs": 1,
        "suffix": "!",
        "stop": ["\n"],
        "logit_bias": {"50256": -100},
    }
    async with open_client(gateway, alice) as client:
        answer = await client.completions.create(model="m", **options)
    assert [(choice.index, choice.text) for choice in answer.choices] == [
        (index, f"text {index}") for index in range(4)
    ]
    assert answer.choices[0].logprobs.token_logprobs == [-0.5]
    assert upstream.requests[0].json == {"model": "upstream-model"} | options
    row = await rows.read_only_usage_record()
    assert (row.prompt_tokens, row.completion_tokens) == (4, 8)


async def test_a_stream_is_over_when_each_choice_of_each_prompt_is(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            make_completion(make_choice(0, "a")),
            make_completion(make_choice(1, "b", None)),
            PAUSE,
            make_completion(make_choice(1, "c", "length")),
            DONE,
        )
    )
    async with open_client(gateway, alice) as client:
        stream = await client.completions.create(model="m", prompt=[[1, 2], [3]], stream=True)
        texts = {0: "", 1: ""}
        reasons = {}
        async for chunk in stream:
            upstream.gate.open()
            for choice in chunk.choices:
                texts[choice.index] += choice.text
                if choice.finish_reason:
                    reasons[choice.index] = choice.finish_reason
    assert texts == {0: "a", 1: "bc"}
    assert reasons == {0: "stop", 1: "length"}


async def test_a_stream_that_lacks_a_prompts_end_is_not_complete(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            make_completion(make_choice(0, "a")), make_completion(make_choice(1, "b", None))
        )
    )
    answer = await request_model(gateway, alice, COMPLETIONS, prompt=["x", "y"], stream=True)
    if answer.status == 200:
        assert not answer.is_complete
    assert (await rows.read_only_usage_record()).error_code == "upstream_disconnected"


async def test_a_prompt_may_be_judged_without_an_answer(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(make_completion({"text": "Hi", "logprobs": LOGPROBS})))
    async with open_client(gateway, alice) as client:
        answer = await client.completions.create(
            model="m", prompt="Hi", echo=True, logprobs=1, max_tokens=0
        )
    (choice,) = answer.choices
    assert (choice.index, choice.text, choice.finish_reason) == (0, "Hi", "stop")
    assert upstream.requests[0].json["max_tokens"] == 0


@pytest.mark.parametrize(
    "fields",
    [{"best_of": 1, "n": 2}, {"best_of": 2, "stream": True}, {"best_of": 200}],
)
async def test_the_best_answer_is_chosen_of_enough_and_not_streamed(
    gateway, upstream, alice, fields
):
    answer = await request_model(gateway, alice, COMPLETIONS, prompt="x", **fields)
    assert (answer.status, answer.error["param"]) == (400, "best_of")
    assert upstream.requests == []


async def test_the_official_client_reads_vectors_in_both_encodings(gateway, upstream, alice):
    vectors = [[0.5, -0.25], [1.0, 0.125]]
    packed = [b64encode(struct.pack("<2f", *vector)).decode() for vector in vectors]
    async with open_client(gateway, alice) as client:
        for sent in (vectors, packed):
            for options in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
                upstream.queue_scripts(send_reply(speech.embedding_list(*sent)))
                answer = await client.embeddings.create(
                    model="m", input=[[1, 2], [3]], dimensions=2, **options
                )
                found = [item.embedding for item in answer.data]
                assert found in (vectors, packed)
                assert (found == vectors) is (options.get("encoding_format") != "base64")
                assert [item.index for item in answer.data] == [0, 1]
    assert {asked.json["dimensions"] for asked in upstream.requests} == {2}


async def test_vectors_get_the_fields_that_openai_has(gateway, upstream, alice):
    upstream.queue_scripts(send_reply({"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]}))
    answer = await request_model(gateway, alice, EMBEDDINGS, input=["a", "b"])
    assert answer.json["data"] == [
        {"object": "embedding", "index": 0, "embedding": [1.0]},
        {"object": "embedding", "index": 1, "embedding": [2.0]},
    ]
    row = await rows.read_only_usage_record()
    assert (row.estimated, row.prompt_tokens, row.completion_tokens) == (True, 2, 0)


async def test_an_empty_list_of_tokens_is_a_400(gateway, upstream, alice):
    answer = await request_model(gateway, alice, EMBEDDINGS, input=[[1], []])
    assert (answer.status, answer.error["param"]) == (400, "input[1]")
