"""Messages bodies become chat bodies that say the same."""

import json

import pytest

from api.messages.request.chat_body import find_end_user
from api.messages.request.original_body import build_original
from api.tests.messages.request.made_bodies import (
    ASK,
    CALL,
    MARK,
    convert,
    convert_messages,
    model,
    read_body,
    result,
    text,
    user,
)
from conversations.messages.opaque_text import encode_opaque_text
from providers.exceptions import InvalidRequest


# --- fields ---------------------------------------------------------------------------------------
def test_fields_have_their_chat_names():
    body = convert(
        stop_sequences=["END"],
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stream=True,
        metadata={"user_id": "u-1"},
        service_tier="standard_only",
        thinking={"type": "adaptive", "display": "omitted"},
        output_config={
            "effort": "max",
            "format": {"type": "json_schema", "schema": {"type": "object"}},
        },
    )
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    del body["messages"], body["response_format"]
    assert body == {
        "model": "m",
        "max_tokens": 2048,
        "stream": True,
        "stop": ["END"],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "user": "u-1",
        "service_tier": "default",
        "thinking": {"type": "adaptive"},
        "reasoning_effort": "max",
    }


@pytest.mark.parametrize(("budget", "effort"), [(1024, "low"), (8000, "medium"), (30000, "high")])
def test_a_budget_suggests_an_effort(budget, effort):
    thinking = {"type": "enabled", "budget_tokens": budget}
    body = convert(thinking=thinking, max_tokens=32000)
    assert body["thinking"] == thinking
    assert body["reasoning_effort"] == effort


def test_claude_codes_user_is_the_same_in_each_session():
    first = json.dumps({"device_id": "d", "account_uuid": "a", "session_id": "1"})
    second = json.dumps({"device_id": "d", "account_uuid": "a", "session_id": "2"})
    assert find_end_user(first) == find_end_user(second) == "d_a"
    assert find_end_user("user_ab_account_1_session_2") == "user_ab_account_1"
    assert len(find_end_user("x" * 300)) == 64
    assert find_end_user("{broken") == "{broken"


# --- system ---------------------------------------------------------------------------------------
def test_instructions_are_one_message_without_the_billing_line():
    system = [text("x-anthropic-billing-header: cc_version=1;"), text("One."), text("Two.")]
    messages = convert(system=system)["messages"]
    assert messages[0] == {"role": "system", "content": "One.\n\nTwo."}
    marked = convert(system=[text("One.", cache_control=MARK)])["messages"]
    assert marked[0]["content"] == [text("One.", cache_control=MARK)]
    assert convert(system="One.")["messages"][0] == {"role": "system", "content": "One."}


def test_instructions_in_the_middle_stand_behind_the_results_that_they_follow_or_precede():
    messages = convert_messages(
        ASK,
        model(CALL),
        {"role": "system", "content": "Be brief."},
        user(result()),
    )
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "system"]


# --- what users say -------------------------------------------------------------------------------
def test_images_and_documents_become_parts():
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
    (message,) = convert_messages(
        user(
            {"type": "image", "source": source, "cache_control": MARK},
            {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
            {"type": "image", "source": {"type": "file", "file_id": "file-1"}},
            {"type": "document", "source": pdf, "title": "a.pdf", "context": "Old."},
            {"type": "document", "source": {"type": "url", "url": "https://a.example/c.pdf"}},
            {"type": "document", "source": {"type": "file", "file_id": "file-2"}},
            text("Look."),
        )
    )
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert message["content"] == [
        image | {"cache_control": MARK},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        text("Old."),
        {
            "type": "file",
            "file": {"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"},
        },
        {"type": "file", "file": {"file_url": "https://a.example/c.pdf"}},
        {"type": "file", "file": {"file_id": "file-2"}},
        text("Look."),
    ]


def test_documents_of_text_become_text():
    plain = {"type": "text", "media_type": "text/plain", "data": "Body."}
    inner = {"type": "content", "content": [text("Inner.")]}
    found = {"type": "search_result", "source": "s", "title": "t", "content": [text("Hit.")]}
    (message,) = convert_messages(
        user(
            {"type": "document", "source": plain, "title": "T"},
            {"type": "document", "source": inner},
            found,
        )
    )
    assert message["content"] == (
        "[Document: T]\n\nBody.\n\n[End of the document]\n\n"
        "[Document]\n\nInner.\n\n[End of the document]\n\n"
        "[Search result: t (s)]\nHit."
    )


# --- calls and results ----------------------------------------------------------------------------
def test_calls_and_results_become_messages_in_their_order():
    other = CALL | {"id": "t2", "input": {}}
    image = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}
    messages = convert_messages(
        ASK,
        model(text("I look."), CALL, other),
        user(result([text("a"), image], "t2"), result(is_error=True), text("Go on.")),
    )
    asked, called, second, first, said = messages
    assert asked["content"] == "Look."
    assert called["content"] == "I look."
    assert called["tool_calls"][0] == {
        "id": "t1",
        "type": "function",
        "function": {"name": "look", "arguments": '{"at":"x"}'},
    }
    assert second == {"role": "tool", "tool_call_id": "t2", "content": "a"}
    assert first == {"role": "tool", "tool_call_id": "t1", "content": "Error: found"}
    assert said["content"] == [
        text("[Content of the result of the call t2]"),
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        text("Go on."),
    ]


def test_messages_of_one_role_in_a_row_are_one():
    other = CALL | {"id": "t2"}
    messages = convert_messages(
        ASK, model(CALL), model(text("And."), other), user(result()), user(result(call_id="t2"))
    )
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["t1", "t2"]


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([user(result())], "messages[0].content[0]"),
        ([ASK, model(CALL), user(text("Well?"))], "messages[1].content[0]"),
        ([ASK, model(CALL), user(result(call_id="t9"))], "messages[2].content[0]"),
        ([ASK, model(CALL), user(result()), user(result())], "messages[3].content[0]"),
    ],
)
def test_calls_without_results_are_refused_and_results_without_calls(messages, place):
    with pytest.raises(InvalidRequest) as caught:
        read_body(messages=messages)
    assert caught.value.param == place


def test_a_call_at_the_end_may_be_open():
    assert convert_messages(ASK, model(CALL))[1]["tool_calls"]


# --- thinking -------------------------------------------------------------------------------------
def test_thinking_keeps_anthropics_signature_and_opens_ours():
    sealed = encode_opaque_text("Sealed.")
    messages = convert_messages(
        ASK,
        model(
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZW5j"},
            {"type": "thinking", "thinking": "", "signature": sealed},
            text("Hi"),
        ),
    )
    assert messages[1]["reasoning_content"] == "Hm.Sealed."
    form = {"format": "anthropic-claude-v1"}
    assert messages[1]["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", **form, "index": 0},
        {"type": "reasoning.encrypted", "data": "ZW5j", **form, "index": 1},
    ]


def test_what_was_sealed_with_a_call_comes_back_to_it():
    extras = {"extra_content": {"google": {"thought_signature": "sig"}}}
    data = encode_opaque_text(json.dumps({"calls": {"t1": extras}}))
    messages = convert_messages(
        ASK, model({"type": "redacted_thinking", "data": data}, CALL), user(result())
    )
    assert messages[1]["tool_calls"][0]["extra_content"] == extras["extra_content"]
    assert "reasoning_details" not in messages[1]


def test_thinking_of_other_models_is_not_in_the_body_for_anthropic():
    signed = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    own = {"type": "thinking", "thinking": "Hm.", "signature": encode_opaque_text("")}
    unsigned = {"type": "thinking", "thinking": "Hm."}
    body = read_body(messages=[ASK, model(signed, own, unsigned, text("Hi"))])
    headers = {"HTTP_ANTHROPIC_VERSION": "2023-06-01", "HTTP_ANTHROPIC_BETA": "a,b"}
    original = build_original(body, headers)
    assert original.body["messages"][1]["content"] == [signed, text("Hi")]
    assert original.headers == (("anthropic-version", "2023-06-01"), ("anthropic-beta", "a,b"))
    plain = read_body()
    assert build_original(plain, {}).body is plain


def test_blocks_of_anthropics_own_tools_become_text():
    messages = convert_messages(
        ASK,
        model(
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
            {
                "type": "web_search_tool_result",
                "tool_use_id": "s",
                "content": [
                    {"type": "web_search_result", "title": "T", "url": "https://a.example"}
                ],
            },
            text("Hi"),
        ),
    )
    assert messages[1]["content"] == (
        '[Called web_search: {"query":"q"}]\n\n'
        "[Result of web search]\n- T (https://a.example)\n\nHi"
    )


def test_a_search_result_with_a_text_that_is_none_is_no_fault_of_ours():
    block = {"type": "search_result", "source": "u", "title": "t", "content": [{"text": 1}]}
    (message,) = convert_messages(user(block))
    assert "[Search result: t (u)]\n1" in message["content"]
