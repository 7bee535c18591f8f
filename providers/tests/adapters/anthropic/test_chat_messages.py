"""Chat messages as messages of the Messages API."""

import pytest

from providers.adapters.anthropic.chat_messages import CONTINUATION_TEXT, OPENING_TEXT, SYSTEM_MARK
from providers.exceptions import Rejected
from providers.tests.adapters.anthropic.message_calls import USER, build_body, build_messages

OLD = "claude-sonnet-4-5"
MARK = {"type": "ephemeral"}


def say(role, content, **fields):
    return {"role": role, "content": content, **fields}


def make_call(call_id, arguments='{"a":1}', name="f"):
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def make_text(text):
    return {"type": "text", "text": text}


def make_use(call_id, name="f", **arguments):
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


# --- roles ----------------------------------------------------------------------------------------
def test_leading_instructions_become_the_system_prompt():
    body = build_body(say("system", "One."), say("developer", "Two."), USER)
    assert body["system"] == [make_text("One."), make_text("Two.")]
    assert body["messages"] == [say("user", [make_text("Hi")])]


def test_messages_of_one_role_in_a_row_become_one():
    sent = build_messages(USER, say("user", "There"), say("assistant", "A"), USER)
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert sent[0]["content"] == [make_text("Hi"), make_text("There")]


def test_a_later_system_message_stays_one_where_the_model_takes_it():
    order = say("system", "Be brief.")
    turns = [USER, order, say("assistant", "A"), USER, order, order]
    sent = build_messages(*turns)
    assert [message["role"] for message in sent] == [
        "user",
        "system",
        "assistant",
        "user",
        "system",
    ]
    assert sent[-1]["content"] == [make_text("Be brief."), make_text("Be brief.")]


@pytest.mark.parametrize("model", [OLD, "claude-opus-4-7", "claude-sonnet-5"])
def test_elsewhere_it_is_the_users_with_a_mark(model):
    sent = build_messages(USER, say("system", "Be brief."), model=model)
    assert sent == [say("user", [make_text("Hi"), make_text(f"{SYSTEM_MARK}Be brief.")])]


@pytest.mark.parametrize(
    "turns",
    [
        [USER, say("system", "Be brief."), USER],
        [USER, say("assistant", "A"), say("system", "Be brief."), USER],
    ],
    ids=["before a user", "after the model"],
)
def test_a_system_message_at_a_place_that_is_not_allowed_is_the_users(turns):
    sent = build_messages(*turns)
    assert "system" not in [message["role"] for message in sent]
    assert make_text(f"{SYSTEM_MARK}Be brief.") in sent[-1]["content"]


def test_a_conversation_begins_with_the_user():
    assert build_messages(say("system", "Hi"))[0]["content"] == [make_text(OPENING_TEXT)]
    sent = build_messages(say("assistant", "Hello."), USER)
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]


def test_a_conversation_that_ends_with_the_model_goes_on_with_its_text_or_with_the_user():
    turns = [USER, say("assistant", "Once upon ")]
    assert build_messages(*turns, model=OLD)[-1] == say("assistant", [make_text("Once upon")])
    sent = build_messages(*turns)
    assert sent[1:] == [
        say("assistant", [make_text("Once upon ")]),
        say("user", [make_text(CONTINUATION_TEXT)]),
    ]


@pytest.mark.parametrize("content", ["", "  \n", [], [make_text("")], None])
def test_empty_texts_are_left_out(content):
    sent = build_messages(USER, say("assistant", content), say("user", "Now"))
    assert sent == [say("user", [make_text("Hi"), make_text("Now")])]


# --- calls ----------------------------------------------------------------------------------------
def test_calls_and_their_results_keep_their_ids():
    turns = [
        USER,
        say("assistant", "Wait.", tool_calls=[make_call("toolu_1"), make_call("call_2", "")]),
        say("tool", "one", tool_call_id="toolu_1"),
        say("tool", [make_text("two")], tool_call_id="call_2"),
        say("user", "And?"),
    ]
    sent = build_messages(*turns)
    assert sent[1]["content"] == [make_text("Wait."), make_use("toolu_1", a=1), make_use("call_2")]
    assert sent[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one"},
        {"type": "tool_result", "tool_use_id": "call_2", "content": [make_text("two")]},
        make_text("And?"),
    ]


def test_results_come_before_everything_else():
    turns = [
        USER,
        say("assistant", None, tool_calls=[make_call("a"), make_call("b")]),
        say("tool", "", tool_call_id="a"),
        say("system", "Mind."),
        say("tool", "2", tool_call_id="b", is_error=True),
    ]
    kinds = [block["type"] for block in build_messages(*turns, model=OLD)[-1]["content"]]
    assert kinds == ["tool_result", "tool_result", "text"]


def test_ids_of_other_services_are_rewritten_and_stay_different():
    ids = ["functions.f:0", "functions_f_0", "functions.f:0 "]
    turns = [USER, say("assistant", None, tool_calls=[make_call(each) for each in ids])]
    turns += [say("tool", each, tool_call_id=each) for each in ids]
    sent = build_messages(*turns)
    used = [block["id"] for block in sent[1]["content"]]
    assert used == ["functions_f_0", "functions_f_0_", "functions_f_0__"]
    results = sent[2]["content"]
    assert [block["tool_use_id"] for block in results] == used
    assert [block["content"] for block in results] == ids


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}),
        ('{"a": 1}', {"a": 1}),
        ("{'a': True,}", {"a": True}),
        ('{"a": "b', {"arguments": '{"a": "b'}),
        ("[1]", {"arguments": "[1]"}),
        ("not JSON", {"arguments": "not JSON"}),
    ],
)
def test_arguments_are_an_object_or_kept_as_a_text_in_one(arguments, expected):
    turns = [USER, say("assistant", None, tool_calls=[make_call("a", arguments)])]
    assert build_messages(*turns)[1]["content"][0]["input"] == expected


def test_calls_in_openais_old_form_get_ids():
    called = say("assistant", None, function_call={"name": "f", "arguments": "{}"})
    sent = build_messages(USER, called, say("function", "1", name="f"))
    assert sent[1]["content"][0]["id"] == sent[2]["content"][0]["tool_use_id"]


# --- thinking -------------------------------------------------------------------------------------
def test_only_signed_thinking_of_anthropic_goes_back_and_first():
    details = [
        {"type": "reasoning.text", "text": "A", "signature": "s1", "format": "anthropic-claude-v1"},
        {"type": "reasoning.text", "text": "unsigned", "format": "anthropic-claude-v1"},
        {"type": "reasoning.encrypted", "data": "d", "format": "anthropic-claude-v1"},
        {"type": "reasoning.encrypted", "data": "x", "format": "openai-responses-v1"},
        {"type": "reasoning.summary", "summary": "y"},
        "nonsense",
    ]
    message = say("assistant", "B", reasoning_details=details, reasoning_content="A")
    assert build_messages(USER, message, USER)[1]["content"] == [
        {"type": "thinking", "thinking": "A", "signature": "s1"},
        {"type": "redacted_thinking", "data": "d"},
        make_text("B"),
    ]


# --- parts ----------------------------------------------------------------------------------------
def test_images_and_marks_are_kept():
    parts = [
        make_text("Look") | {"cache_control": MARK},
        {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,QUJD", "detail": "low"}},
        {"type": "image_url", "image_url": "https://i.example/a.png"},
    ]
    image = {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"}
    assert build_messages(say("user", parts), say("user", "x", cache_control=MARK)) == [
        say(
            "user",
            [
                parts[0],
                {"type": "image", "source": image},
                {"type": "image", "source": {"type": "url", "url": "https://i.example/a.png"}},
                make_text("x") | {"cache_control": MARK},
            ],
        )
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "https://v.example"}},
        {"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,QUJD"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "file", "file": {"filename": "a.zip", "file_data": "data:a/zip;base64,QUJD"}},
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,?"}},
        {"type": "file", "file": {"filename": "a.txt"}},
    ],
)
def test_a_part_that_cannot_be_sent_is_refused_with_its_place(part):
    with pytest.raises(Rejected) as raised:
        build_messages(say("user", [make_text("x"), part]))
    assert raised.value.param == "messages[0].content[1]"


def test_files_become_documents():
    files = [
        {"filename": "a.md", "file_data": "data:text/markdown;base64,IyBIaQ=="},
        {"filename": "b.png", "file_data": "data:image/png;base64,QUJD"},
    ]
    parts = [{"type": "file", "file": file} for file in files]
    parts.append({"type": "file", "file": {"filename": "c.docx"}, "text": "Hello"})
    blocks = build_messages(say("user", parts))[0]["content"]
    assert [block["source"]["data"] for block in blocks] == ["# Hi", "QUJD", "Hello"]
    assert [block.get("title") for block in blocks] == ["a.md", None, "c.docx"]
