"""What Gemini is sent: contents, configuration, thinking, media; and what is refused."""

import pytest

from api.tests.endpoints.gemini.gemini_answers import answer_with, make_event, text_part
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel
from proxysite.testing.upstream import send_reply

DONE = answer_with(make_event(text_part("Hi"), finish="STOP"), streams=False)
PIXEL = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="


@pytest.fixture
def ask(gateway, upstream, alice, token):
    """Return a function that asks, and returns the body that the upstream got."""
    upstream.set_default_script(DONE)

    async def ask(**body):
        answer = await gateway.request_chat(alice.key, **body)
        assert answer.status == 200, answer.body
        return upstream.requests[-1].json

    return ask


async def test_instructions_and_roles(ask):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "system", "content": "The date is new."},
        {"role": "user", "content": ""},
    ]
    assert await ask(messages=messages) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"text": "Hello"}]},
            {"role": "user", "parts": [{"text": "The date is new."}]},
        ],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
    }


async def test_instructions_alone_are_the_question(ask):
    sent = await ask(messages=[{"role": "system", "content": "Say hi."}])
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "Say hi."}]}]
    assert "systemInstruction" not in sent


async def test_images_audio_and_files(ask, gateway):
    await run_in_thread(ChatModel.objects.update, capabilities=["chat", "vision", "files", "tools"])
    await gateway.reload_rows()
    content = [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "image_url", "image_url": {"url": "https://a.example/cat.jpg?x=1"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
    ]
    sent = await ask(messages=[{"role": "user", "content": content}])
    assert sent["contents"][0]["parts"] == [
        {"text": "Look:"},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
        {"fileData": {"fileUri": "https://a.example/cat.jpg?x=1", "mimeType": "image/jpeg"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
    ]


async def test_the_configuration_of_an_answer(ask):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    sent = await ask(
        model="m20",
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        max_tokens=100,
        stop=["END"],
        seed=7,
        presence_penalty=0,
        frequency_penalty=0.5,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    )
    assert sent["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "maxOutputTokens": 100,
        "stopSequences": ["END"],
        "seed": 7,
        "frequencyPenalty": 0.5,
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }
    assert sent["safetySettings"][0]["threshold"] == "BLOCK_NONE"


@pytest.mark.parametrize(
    ("model", "wishes", "config"),
    [
        ("m", {}, {"includeThoughts": True}),
        ("m", {"reasoning_effort": "none"}, {"includeThoughts": False, "thinkingLevel": "minimal"}),
        ("m", {"reasoning_effort": "max"}, {"includeThoughts": True, "thinkingLevel": "high"}),
        (
            "m",
            {"thinking": {"type": "enabled", "budget_tokens": 10_000}},
            {"includeThoughts": True, "thinkingLevel": "medium"},
        ),
        ("m25", {"reasoning_effort": "low"}, {"includeThoughts": True, "thinkingBudget": 1_024}),
        (
            "m25",
            {"thinking": {"type": "disabled"}},
            {"includeThoughts": False, "thinkingBudget": 0},
        ),
        (
            "m25",
            {"thinking": {"type": "enabled", "budget_tokens": 99_999}},
            {"includeThoughts": True, "thinkingBudget": 24_576},
        ),
        (
            "m25",
            {"google": {"thinking_config": {"thinking_budget": 5}}},
            {"includeThoughts": True, "thinkingBudget": 5},
        ),
    ],
)
async def test_how_it_is_told_to_think(ask, model, wishes, config):
    sent = await ask(model=model, **wishes)
    assert sent["generationConfig"]["thinkingConfig"] == config


async def test_a_wish_without_counterpart_is_named(gateway, upstream, alice, token):
    upstream.queue_scripts(DONE)
    answer = await gateway.request_chat(
        alice.key, model="m20", reasoning_effort="low", user="u", verbosity="low"
    )
    assert answer.headers["x-proxysite-omitted"] == "reasoning_effort, user, verbosity"
    assert "generationConfig" not in upstream.requests[0].json


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "f"}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
    ],
)
async def test_the_choice_of_tools(ask, choice, config):
    tools = [{"type": "function", "function": {"name": "f"}}]
    sent = await ask(tools=tools, tool_choice=choice)
    assert sent["toolConfig"] == {"functionCallingConfig": config}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "ftp://a/b"}}],
                    }
                ]
            },
            "messages",
        ),
    ],
)
async def test_what_it_cannot_do_is_refused_unasked(gateway, upstream, alice, token, body, param):
    answer = await gateway.request_chat(alice.key, **body)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert not upstream.requests


async def test_legacy_completions_are_refused(gateway, upstream, alice, token):
    answer = await gateway.send_request(
        "POST", "/v1/completions", alice.key, json={"model": "m", "prompt": "Hi"}
    )
    assert (answer.status, answer.error["param"]) == (400, "model")


async def test_embeddings(gateway, upstream, alice, token):
    upstream.queue_scripts(send_reply({"embeddings": [{"values": [0.5, 1]}, {"values": [1, 0]}]}))
    answer = await gateway.send_request(
        "POST",
        "/v1/embeddings",
        alice.key,
        json={"model": "m", "input": ["a", "b"], "dimensions": 2},
    )
    assert [entry["embedding"] for entry in answer.json["data"]] == [[0.5, 1], [1, 0]]
    sent = upstream.requests[0]
    assert sent.path == "/v1/models/gemini-3-flash:batchEmbedContents"
    assert sent.json["requests"][1] == {
        "model": "models/gemini-3-flash",
        "content": {"parts": [{"text": "b"}]},
        "outputDimensionality": 2,
    }
