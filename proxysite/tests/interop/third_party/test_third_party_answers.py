"""Answers of third-party servers: texts, streams, tools, embeddings, lists of models."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import BaseModel

from proxysite.tests.interop.third_party.third_party import SAID, SMILE, build_messages, only_aimock

pytestmark = pytest.mark.interop
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class City(BaseModel):
    name: str
    people: int


def test_a_whole_answer_arrives_and_is_accounted_for(gateway, client, third):
    before = len(gateway.ledger(third.model("talk")))
    answer = client.chat.completions.create(
        model=third.model("talk"), messages=build_messages("hello")
    )
    assert answer.choices[0].message.content == SAID
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == third.model("talk")
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0
    rows = gateway.ledger(third.model("talk"))
    assert len(rows) == before + 1
    assert (rows[-1]["status"], rows[-1]["stream"], rows[-1]["estimated"]) == ("complete", 0, 0)
    assert rows[-1]["completion_tokens"] == answer.usage.completion_tokens
    assert rows[-1]["prompt_tokens"] == answer.usage.prompt_tokens


def test_a_streamed_answer_says_the_same_as_a_whole_one(gateway, client, third):
    with client.chat.completions.create(
        model=third.model("talk"),
        messages=build_messages("hello"),
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    spoken = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in spoken) == SAID
    assert sum(bool(choice.delta.content) for choice in spoken) > 5  # it really streams
    assert [choice.finish_reason for choice in spoken if choice.finish_reason] == ["stop"]
    assert {(chunk.id, chunk.model) for chunk in chunks} == {(chunks[0].id, third.model("talk"))}
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    row = gateway.ledger(third.model("talk"))[-1]
    assert (row["status"], row["stream"], row["estimated"]) == ("complete", 1, 0)
    assert row["completion_tokens"] == chunks[-1].usage.completion_tokens > 0


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_characters_beyond_the_basic_plane_survive(client, third, streams):
    """aimock cuts its chunks by UTF-16 units, as servers in JavaScript do: one half of a character
    in each of two.
    """
    model = third.model("talk" if third.name == "aimock" else "smile")
    if streams:
        with client.chat.completions.create(
            model=model, messages=build_messages("smile"), stream=True
        ) as stream:
            text = "".join(
                chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices
            )
    else:
        text = (
            client.chat.completions.create(model=model, messages=build_messages("smile"))
            .choices[0]
            .message.content
            or ""
        )
    assert text == SMILE


def test_many_streams_at_once_are_not_mixed_up(client, third):
    def listen(number: int) -> str:
        with client.chat.completions.create(
            model=third.model("talk"), messages=build_messages(f"hello {number}"), stream=True
        ) as stream:
            return "".join(
                chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices
            )

    with ThreadPoolExecutor(16) as callers:
        assert set(callers.map(listen, range(48))) == {SAID}


def test_the_models_it_lists_can_be_listed_and_asked_for(gateway, client, third):
    listed = {model.id for model in client.models.list()}
    assert third.model("talk") in listed
    assert client.models.retrieve(third.model("talk")).id == third.model("talk")
    again = json.loads(
        gateway.manage("sync_models", third.name, "--prefix", f"{third.name}/", "--format", "json")
    )
    assert again["added"] == []
    assert third.model("talk") in again["known"]
    assert again["gone"] == (
        [] if third.name == "aimock" else [third.model("not-there")]
    )  # aimock lists it


def test_embeddings_are_the_same_as_floats_and_as_base64(client, third):
    model = third.model("vectors" if third.name == "aimock" else "text-embedding-3-small")
    floats = client.embeddings.create(model=model, input="fixed", encoding_format="float")
    assert floats.data[0].embedding == [0.5, -1.0, 0.25]
    packed = client.embeddings.create(
        model=model, input="fixed"
    )  # the package asks for base64 and unpacks it
    assert packed.data[0].embedding == [0.5, -1.0, 0.25]
    assert packed.model == model


@only_aimock
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_tools_are_called_and_their_results_are_heard(client, third, streams):
    talk: dict[str, Any] = {"model": third.model("talk"), "tools": [WEATHER]}
    messages = build_messages("weather")
    if streams:
        with client.chat.completions.stream(messages=messages, **talk) as stream:
            said = stream.get_final_completion().choices[0]
    else:
        said = client.chat.completions.create(messages=messages, **talk).choices[0]
    assert said.finish_reason == "tool_calls"
    calls = said.message.tool_calls or []
    cities = [
        json.loads(call.function.arguments)["city"] for call in calls if call.type == "function"
    ]
    assert cities == ["Zürich", "東京"]
    assert len({call.id for call in calls}) == 2
    messages = [*messages, said.message.model_dump(exclude_none=True, exclude={"parsed"})]
    for call in messages[-1]["tool_calls"]:
        call["function"].pop("parsed_arguments", None)
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": "rain"})
    answer = client.chat.completions.create(messages=messages, **talk)
    assert answer.choices[0].message.content == "It rains."


@only_aimock
def test_structured_output_is_parsed(client, third):
    answer = client.chat.completions.parse(
        model=third.model("talk"), messages=build_messages("Which city?"), response_format=City
    )
    assert answer.choices[0].message.parsed == City(name="Zürich", people=443000)
