"""Chat messages as Gemini's contents: signatures, custom tools, results that are no text."""

import pytest

from providers.adapters.gemini.contents import ContentsBuilder
from providers.adapters.gemini.gemini_answer import GeminiAnswer
from providers.adapters.gemini.gemini_request import build_generate_body
from providers.adapters.gemini.signatures import UNSIGNED
from providers.adapters.gemini.thinking_family import find_thinking_family
from providers.exceptions import Rejected
from providers.filters.answer_folder import fold_answer
from providers.filters.conform import StreamConformer
from providers.protocol.request import CHAT, ChatRequest, UpstreamModel

PIXEL = "data:image/png;base64,iVBORw0KGgo="
CALLS = [
    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "not json"}},
]


def build(messages, *, signs_calls=True, takes_result_parts=True):
    builder = ContentsBuilder(signs_calls=signs_calls, takes_result_parts=takes_result_parts)
    builder.add_messages(messages)
    return builder.contents


def make_request(**body):
    messages = [{"role": "user", "content": "Hi"}]
    return ChatRequest("1", CHAT, "m", {"model": "m", "messages": messages} | body)


def read_message(request, *parts, custom_names=frozenset()):
    """Return the message that an answer of these parts becomes."""
    reader = GeminiAnswer(request, "", custom_names=custom_names)
    event = {"candidates": [{"content": {"parts": list(parts)}, "finishReason": "STOP"}]}
    conformer = StreamConformer()
    chunks = [conformer.conform_chunk(chunk) for chunk in reader.read_object(event)]
    return fold_answer([chunk for chunk in chunks if chunk])["choices"][0]


@pytest.mark.parametrize("signs_calls", [True, False])
def test_the_first_call_of_another_model_is_marked_where_signatures_are_wanted(signs_calls):
    (content,) = build(
        [{"role": "assistant", "content": None, "tool_calls": CALLS}], signs_calls=signs_calls
    )
    first, second = content["parts"]
    assert first.get("thoughtSignature") == (UNSIGNED if signs_calls else None)
    assert first["functionCall"] == {"name": "f", "args": {"x": 1}, "id": "a"}
    assert "thoughtSignature" not in second
    assert second["functionCall"]["args"] == {"input": "not json"}


def test_signatures_among_the_details_go_back_to_their_call_and_to_the_text():
    details = [
        {"type": "reasoning.encrypted", "format": "google-gemini-v1", "data": "S1", "id": "a"},
        {"type": "reasoning.encrypted", "format": "google-gemini-v1", "data": "S2"},
        {"type": "reasoning.text", "format": "anthropic-claude-v1", "signature": "S3"},
    ]
    message = {
        "role": "assistant",
        "content": "Well",
        "tool_calls": CALLS[:1],
        "reasoning_details": details,
    }
    (content,) = build([message])
    text, call = content["parts"]
    assert (text["text"], text["thoughtSignature"]) == ("Well", "S2")
    assert call["thoughtSignature"] == "S1"


@pytest.mark.parametrize("takes_result_parts", [True, False])
def test_images_of_a_result_stand_in_it_or_after_it(takes_result_parts):
    content = [{"type": "text", "text": "A dot:"}, {"type": "image_url", "image_url": PIXEL}]
    messages = [
        {"role": "assistant", "content": None, "tool_calls": CALLS[:1]},
        {"role": "tool", "tool_call_id": "a", "content": content},
        {"role": "user", "content": "And?"},
    ]
    _, result, question = build(messages, takes_result_parts=takes_result_parts)
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    response = result["parts"][0]["functionResponse"]
    assert (response["name"], response["response"]) == ("f", {"output": "A dot:"})
    assert response.get("parts") == ([image] if takes_result_parts else None)
    assert result["parts"][1:] == ([] if takes_result_parts else [image])
    assert question == {"role": "user", "parts": [{"text": "And?"}]}


def test_a_custom_tool_is_a_function_with_one_text():
    tool = {"type": "custom", "custom": {"name": "patch", "description": "Patches."}}
    request = make_request(tools=[tool])
    body = build_generate_body(request, request.body, UpstreamModel("gemini-3-flash"))
    (declaration,) = body["tools"][0]["functionDeclarations"]
    assert declaration["parametersJsonSchema"]["required"] == ["input"]
    choice = read_message(
        request,
        {"functionCall": {"name": "patch", "args": {"input": "*** Begin"}}},
        custom_names=frozenset(["patch"]),
    )
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["custom"]) == ("custom", {"name": "patch", "input": "*** Begin"})


def test_old_functions_are_answered_in_their_old_form():
    request = make_request(functions=[{"name": "f"}], function_call={"name": "f"})
    body = build_generate_body(request, request.body, UpstreamModel("gemini-2.0-flash"))
    config = body["toolConfig"]["functionCallingConfig"]
    assert config == {"mode": "ANY", "allowedFunctionNames": ["f"]}
    choice = read_message(request, {"functionCall": {"name": "f", "args": {"x": 1}}})
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"x":1}'}


def test_only_the_allowed_tools_are_offered():
    tools = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    request = make_request(tools=tools, tool_choice=choice)
    body = build_generate_body(request, request.body, UpstreamModel("gemini-3-flash"))
    assert body["tools"] == [{"functionDeclarations": [{"name": "g"}]}]
    assert body["toolConfig"]["functionCallingConfig"] == {"mode": "ANY"}


def test_a_generated_image_is_an_image_of_the_message():
    choice = read_message(
        make_request(modalities=["text", "image"]),
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
    )
    assert choice["message"]["images"] == [{"type": "image_url", "image_url": {"url": PIXEL}}]


@pytest.mark.parametrize(
    ("name", "options", "effort", "config"),
    [
        ("gemini-3-pro-preview", {}, "medium", {"thinkingLevel": "high"}),
        ("gemini-3.1-pro-preview", {}, "minimal", {"thinkingLevel": "low"}),
        ("gemini-3.5-flash", {}, "minimal", {"thinkingLevel": "minimal"}),
        ("gemini-flash-latest", {}, "xhigh", {"thinkingLevel": "high"}),
        ("gemini-2.5-pro", {}, "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash-lite", {}, "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", {}, "max", {"thinkingBudget": 32_768}),
        ("tunedModels/mine", {"thinking": "budget"}, "low", {"thinkingBudget": 1_024}),
    ],
)
def test_each_family_has_its_efforts(name, options, effort, config):
    family = find_thinking_family(UpstreamModel(name, options=options))
    assert family.set_effort(effort) == config


@pytest.mark.parametrize("name", ["gemini-2.0-flash", "gemini-2.5-flash-image", "gemma-3-27b-it"])
def test_other_models_do_not_think(name):
    assert not find_thinking_family(UpstreamModel(name)).thinks


@pytest.mark.parametrize(
    "url",
    [
        "gs://bucket-of-the-operator/secret.pdf",
        "https://generativelanguage.googleapis.com/v1beta/files/abc",
        "https://GenerativeLanguage.googleapis.com:443/v1beta/files/abc",
        "https://generativelanguage.googleapis.com./v1beta/files/abc",
        "https://user@generativelanguage.googleapis.com/v1beta/files/abc",
        "https://[broken/x.png",
    ],
)
def test_files_that_the_operators_account_can_read_are_not_given_to_callers(url):
    part = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(Rejected):
        build([{"role": "user", "content": [part]}])


def test_public_addresses_are_fetched_by_gemini():
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png?x=1"}}
    (content,) = build([{"role": "user", "content": [part]}])
    file = {"fileUri": "https://example.com/a.png?x=1", "mimeType": "image/png"}
    assert content["parts"] == [{"fileData": file}]
