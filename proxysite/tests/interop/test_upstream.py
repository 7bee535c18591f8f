"""Servers that other people wrote as upstreams, the official openai package as caller, and a real
gateway between them.

aimock    a mock of OpenAI's API on Node, by CopilotKit: text, tools, embeddings, faults; refuses
unknown tokens litellm   the gateway LiteLLM with canned answers: its streams, its errors
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import openai
import pytest
from pydantic import BaseModel

from proxysite.tests.processes import (
    Gateway,
    Program,
    npm_packages,
    patiently,
    pip_programs,
    surroundings,
)

pytestmark = pytest.mark.interop

Answer = TypeVar("Answer")
TOKEN = "sk-the-upstreams-own"
SAID = "It is said, word by word: ünïcode, 日本語 and a\nnew line."
SMILE = "What 🙂 means: 🙂🙂🙂🙂."
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


@dataclass
class ThirdParty:
    """A running third-party server; its models are offered as `{name}/…`."""

    name: str
    program: Program
    url: str
    unknown_model: type[openai.APIStatusError]  # what it says of a model that it does not have

    def model(self, name: str) -> str:
        return f"{self.name}/{name}"


def aimock_fixtures() -> list[dict[str, Any]]:
    """What aimock answers to whom; the first that matches counts."""

    def on(match: dict[str, Any], response: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"match": {"endpoint": "chat"} | match, "response": response, "chunkSize": 5} | more

    unknown = {
        "message": "The model `gone` does not exist",
        "type": "invalid_request_error",
        "code": "model_not_found",
    }
    limited = {"message": "Slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}
    refused = {
        "message": "temperature must be at most 2",
        "type": "invalid_request_error",
        "param": "temperature",
    }
    calls = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Zürich", "東京")]
    return [
        on({"model": "gone"}, {"error": unknown, "status": 404}),
        on({"model": "limited"}, {"error": limited, "status": 429, "retryAfter": 30}),
        on({"model": "breaks"}, {"content": SAID}, latency=20, truncateAfterChunks=4),
        on({"userMessage": "too hot"}, {"error": refused, "status": 400}),
        on({"userMessage": "smile"}, {"content": SMILE}),
        on({"userMessage": "weather", "hasToolResult": False}, {"toolCalls": calls}),
        on({"userMessage": "weather", "hasToolResult": True}, {"content": "It rains."}),
        on(
            {"responseFormat": "json_schema"},
            {"content": json.dumps({"name": "Zürich", "people": 443000})},
        ),
        on({"model": "talk"}, {"content": SAID}),
        {
            "match": {"endpoint": "embedding", "model": "vectors", "inputText": "fixed"},
            "response": {"embedding": [0.5, -1.0, 0.25]},
        },
    ]


def start_aimock(folder: Path) -> Program:
    fixtures = folder / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": aimock_fixtures()}), encoding="utf-8")
    script = npm_packages() / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    command = [
        "node",
        script,
        "--port",
        "0",
        "--strict",
        "--validate-on-load",
        "--fixtures",
        fixtures,
    ]
    return Program(command, folder / "aimock.log", surroundings(AIMOCK_API_KEYS=TOKEN), folder)


def start_litellm(folder: Path) -> Program:
    def model(name: str, mock_response: Any) -> dict[str, Any]:
        parameters = {
            "model": f"openai/{name}",
            "api_key": "unused",
            "mock_response": mock_response,
        }
        return {"model_name": name, "litellm_params": parameters}

    config = {
        "model_list": [
            model("talk", SAID),
            model("smile", SMILE),
            model("limited", "litellm.RateLimitError"),
            model("text-embedding-3-small", [0.5, -1.0, 0.25]),
        ],
        "general_settings": {"master_key": TOKEN},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")  # JSON is YAML
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HOME": str(folder)}
    command = [
        pip_programs("litellm") / "litellm",
        "--config",
        file,
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    return Program(command, folder / "litellm.log", surroundings(**offline), folder)


STARTS: dict[str, tuple[Callable[[Path], Program], type[openai.APIStatusError]]] = {
    "aimock": (start_aimock, openai.NotFoundError),
    "litellm": (start_litellm, openai.BadRequestError),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gateway"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.DefaultHttpxClient(trust_env=False) as http:
        key = gateway.issue_key("alice")
        yield openai.OpenAI(
            base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=30, http_client=http
        )


@pytest.fixture(scope="module", params=STARTS)
def third(
    request: pytest.FixtureRequest,
    gateway: Gateway,
    client: openai.OpenAI,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ThirdParty]:
    """A third-party server with the models that it lists, and one that it does not have."""
    name = request.param
    start, unknown_model = STARTS[name]
    program = start(tmp_path_factory.mktemp(name))
    try:
        party = ThirdParty(name, program, program.address(), unknown_model)
        gateway.provide(name, f"{party.url}/v1", f"{name}/not-there=gone", tokens=[TOKEN])
        report = gateway.manage("sync_models", name, "--prefix", f"{name}/")
        assert f"+ {party.model('talk')}" in report
        once_in_force(
            lambda: client.chat.completions.create(
                model=party.model("talk"), messages=asked("hello")
            )
        )
        yield party
        program.stop()
    finally:
        program.kill()


only_aimock = pytest.mark.parametrize(
    "third", ["aimock"], indirect=True
)  # LiteLLM's canned answers are texts


def asked(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def once_in_force(ask: Callable[[], Answer]) -> Answer:
    """Ask until a running gateway knows of the rows that were added beside it, which is promised
    within a second.
    """

    def attempt() -> list[Answer]:
        try:
            return [ask()]
        except openai.APIStatusError as error:
            if error.code not in ("model_not_found", "no_available_token"):
                raise
            return []

    return patiently(attempt, "new rows in force")[0]


def test_a_whole_answer_arrives_and_is_accounted_for(gateway, client, third):
    before = len(gateway.ledger(third.model("talk")))
    answer = client.chat.completions.create(model=third.model("talk"), messages=asked("hello"))
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
        messages=asked("hello"),
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
            model=model, messages=asked("smile"), stream=True
        ) as stream:
            text = "".join(
                chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices
            )
    else:
        text = (
            client.chat.completions.create(model=model, messages=asked("smile"))
            .choices[0]
            .message.content
            or ""
        )
    assert text == SMILE


def test_many_streams_at_once_are_not_mixed_up(client, third):
    def listen(number: int) -> str:
        with client.chat.completions.create(
            model=third.model("talk"), messages=asked(f"hello {number}"), stream=True
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


def test_a_model_that_the_upstream_does_not_have_is_the_callers_error_and_hurts_no_token(
    gateway, client, third
):
    for stream in (False, True):
        with pytest.raises(third.unknown_model) as caught:
            client.chat.completions.create(
                model=third.model("not-there"), messages=asked("hello"), stream=stream
            )
        assert caught.value.body["message"]
        assert TOKEN not in caught.value.message
    row = gateway.ledger(third.model("not-there"))[-1]
    assert (row["status"], len(json.loads(row["attempts"]))) == ("error", 1)
    (token,) = gateway.tokens(third.name)
    assert (token["state"], token["strikes"], token["rests_until"]) == ("active", 0, None)


def test_its_rate_limit_rests_the_token_and_reaches_the_caller(gateway, client, third):
    name = f"{third.name}-limited"
    model = f"{name}/m"
    gateway.provide(name, f"{third.url}/v1", f"{model}=limited", tokens=[TOKEN])
    for outcome in ("RateLimited", "skipped"):  # the second time nobody is asked
        with pytest.raises(openai.RateLimitError) as caught:
            once_in_force(
                lambda: client.chat.completions.create(model=model, messages=asked("hello"))
            )
        assert int(caught.value.response.headers["retry-after"]) >= 1
        (attempt,) = json.loads(gateway.ledger(model)[-1]["attempts"])
        assert attempt["outcome"] == outcome
    (token,) = gateway.tokens(name)
    assert (token["state"], token["strikes"]) == ("active", 0)


@only_aimock
def test_a_token_it_rejects_is_struck_and_the_next_one_answers(gateway, client, third):
    gateway.provide(
        "aimock-two", f"{third.url}/v1", "aimock-two/m=talk", tokens=["sk-nobody-knows-it", TOKEN]
    )
    two = {"model": "aimock-two/m", "messages": asked("hello")}

    def struck() -> list[dict[str, Any]]:
        answer = once_in_force(lambda: client.chat.completions.create(**two))
        assert answer.choices[0].message.content == SAID
        return [token for token in gateway.tokens("aimock-two") if token["state"] == "disabled"]

    (token,) = patiently(struck, "the rejected token disabled")
    assert token["strikes"] == 3
    tried = [
        json.loads(row["attempts"])
        for row in gateway.ledger("aimock-two/m")
        if row["status"] == "complete"
    ]
    assert sum(len(attempts) for attempts in tried) == len(tried) + 3


@only_aimock
def test_a_request_that_it_refuses_comes_back_with_its_words(client, third):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=third.model("talk"), messages=asked("too hot"), temperature=2
        )
    assert caught.value.body["message"] == "temperature must be at most 2"


@only_aimock
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_tools_are_called_and_their_results_are_heard(client, third, streams):
    talk: dict[str, Any] = {"model": third.model("talk"), "tools": [WEATHER]}
    messages = asked("weather")
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
        model=third.model("talk"), messages=asked("Which city?"), response_format=City
    )
    assert answer.choices[0].message.parsed == City(name="Zürich", people=443000)


@only_aimock
def test_a_stream_that_it_breaks_off_does_not_look_finished(gateway, client, third):
    heard: list[Any] = []

    def listen() -> None:
        with client.chat.completions.create(
            model=third.model("breaks"), messages=asked("hello"), stream=True
        ) as stream:
            for chunk in stream:
                heard.extend(chunk.choices)

    with pytest.raises(openai.APIError) as caught:
        listen()
    text = "".join(choice.delta.content or "" for choice in heard)
    assert text
    assert SAID.startswith(text)
    assert not any(choice.finish_reason for choice in heard)
    assert caught.value.code == "upstream_disconnected"
    row = gateway.ledger(third.model("breaks"))[-1]
    assert (row["status"], row["estimated"]) == ("truncated", 1)
    assert row["completion_tokens"] > 0
