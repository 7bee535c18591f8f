"""Answers of a real model through the gateway. At temperature 0 SmolLM2-135M knows the capital of
France and calls a function as it has done before; what else it says is not compared with anything.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from proxysite.tests.interop.llama_cpp.conftest import MODEL
from proxysite.tests.interop.third_party.third_party import build_messages
from proxysite.tests.processes import patiently

pytestmark = pytest.mark.interop

CITIES = ["Wien", "Graz", "Linz"]
QUESTION = build_messages("What is the capital of France? One word.")
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": CITIES}},
    "required": ["city"],
}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": PARAMETERS,
    },
}


class City(BaseModel):
    name: str
    people: int


def build_exchange(city: str) -> list[Any]:
    """Return what was said before: a question, a call, its result, and an answer."""
    call = {"name": "get_weather", "arguments": json.dumps({"city": city})}
    return [
        {"role": "user", "content": f"What is the weather in {city}?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"call_{city}", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": f"call_{city}", "content": "rain"},
        {"role": "assistant", "content": f"It is rain in {city}."},
    ]


def compare_counts(record: dict[str, Any], usage: Any) -> None:
    """Check that the ledger has what the model's server has counted."""
    assert record["status"] == "complete"
    assert not record["estimated"]
    assert record["prompt_tokens"] == usage.prompt_tokens > 0
    assert record["completion_tokens"] == usage.completion_tokens > 0
    assert record["cached_tokens"] == usage.prompt_tokens_details.cached_tokens


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_a_chat_is_answered_and_its_tokens_are_in_the_ledger(client, read_records, streams):
    request: Any = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 30}
    if streams:
        options = {"include_usage": True}
        with client.chat.completions.create(
            **request, stream=True, stream_options=options
        ) as stream:
            chunks = list(stream)
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        usage = chunks[-1].usage
        assert len(chunks) > usage.completion_tokens, "one chunk for each token"
    else:
        answer = client.chat.completions.create(**request)
        text = answer.choices[0].message.content
        usage = answer.usage
        assert answer.choices[0].finish_reason == "stop"
    assert "Paris" in text
    (record,) = read_records()
    compare_counts(record, usage)


def test_an_answer_ends_at_its_limit(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=build_messages("Tell me a story."), max_tokens=3
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_an_answer_keeps_to_a_json_schema(client, streams):
    request: Any = {
        "model": MODEL,
        "messages": build_messages("Tell me a city as JSON."),
        "response_format": City,
        "temperature": 0,
        "max_tokens": 100,
    }
    if streams:
        with client.chat.completions.stream(**request) as stream:
            answer = stream.get_final_completion()
    else:
        answer = client.chat.completions.parse(**request)
    assert isinstance(answer.choices[0].message.parsed, City)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_the_model_calls_a_function_and_reads_its_result(client, read_records, streams):
    def ask(messages: list[Any]) -> Any:
        request: Any = {"model": MODEL, "messages": messages, "tools": [WEATHER]}
        request |= {"temperature": 0, "max_tokens": 60}
        if not streams:
            return client.chat.completions.create(**request).choices[0]
        with client.chat.completions.stream(**request) as stream:
            return stream.get_final_completion().choices[0]

    question = {"role": "user", "content": "What is the weather in Graz?"}
    messages = [*build_exchange("Linz"), *build_exchange("Wien"), question]
    choice = ask(messages)
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] in CITIES
    said = {"role": "assistant", "content": None}
    said["tool_calls"] = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": "get_weather", "arguments": call.function.arguments},
        }
    ]
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    choice = ask([*messages, said, result])
    assert (choice.finish_reason, choice.message.tool_calls) == ("stop", None)
    assert "rain" in choice.message.content
    assert [record["status"] for record in read_records()] == ["complete", "complete"]


def test_a_response_follows_another_with_what_was_said_before(client, read_records):
    first = client.responses.create(model=MODEL, input=QUESTION[0]["content"], temperature=0)
    assert "Paris" in first.output_text
    second = client.responses.create(
        model=MODEL, input="And of Italy?", previous_response_id=first.id, max_output_tokens=20
    )
    assert second.output_text
    assert second.usage.input_tokens > first.usage.total_tokens
    counts = [(record["prompt_tokens"], record["completion_tokens"]) for record in read_records()]
    assert counts == [
        (response.usage.input_tokens, response.usage.output_tokens) for response in (first, second)
    ]


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_texts_of_the_same_meaning_have_embeddings_that_are_near(client, read_records, encoding):
    texts = ["It rains in Vienna.", "The weather in Vienna is wet.", "def main(): return 0"]
    options: Any = {"encoding_format": "float"} if encoding == "float" else {}
    answer = client.embeddings.create(model=MODEL, input=texts, **options)
    vectors = [entry.embedding for entry in answer.data]
    assert {len(vector) for vector in vectors} == {576}

    def multiply(one: int, other: int) -> float:
        return sum(a * b for a, b in zip(vectors[one], vectors[other], strict=True))

    assert multiply(0, 0) == pytest.approx(1, abs=1e-3)
    assert multiply(0, 1) > multiply(0, 2)
    (record,) = read_records()
    assert record["prompt_tokens"] == answer.usage.prompt_tokens > 0


def test_more_callers_than_slots_are_all_answered(client):
    def ask(_: int) -> str:
        answer = client.chat.completions.create(
            model=MODEL, messages=QUESTION, temperature=0, max_tokens=30
        )
        return answer.choices[0].message.content

    with ThreadPoolExecutor(6) as callers:
        assert all("Paris" in answer for answer in callers.map(ask, range(6)))


def test_a_stream_that_a_caller_leaves_gives_its_slot_back(client, llama, read_records):
    endless: Any = {"max_tokens": 1900, "extra_body": {"ignore_eos": True}}
    streams = [
        client.chat.completions.create(
            model=MODEL, messages=build_messages("Tell me a story."), stream=True, **endless
        )
        for _ in range(2)
    ]
    for stream in streams:
        next(iter(stream))
    patiently(lambda: llama.find_busy_slots() == [0, 1], "both slots in use")
    for stream in streams:
        stream.close()
    patiently(lambda: not llama.find_busy_slots(), "both slots free")
    patiently(lambda: len(read_records()) == 2, "both requests in the ledger")
    for record in read_records():
        assert record["status"] == "abandoned"
        assert 0 < record["completion_tokens"] < 1900


def test_a_prompt_that_does_not_fit_is_the_callers_error(client, llama):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=MODEL, messages=build_messages("word " * 3000), max_tokens=1
        )
    assert "context" in caught.value.message
    assert caught.value.code == "context_length_exceeded"
