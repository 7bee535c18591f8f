import pytest

from providers.protocol.message_text import (
    join_contents,
    join_texts,
    join_typed_texts,
    list_prompt_texts,
    list_texts,
)

IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}
FILE = {"type": "file", "file": {"filename": "a.txt"}, "text": "The file."}
TYPED = {"type": "text", "text": "Look."}
REFUSAL = {"type": "refusal", "refusal": "I cannot."}


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("Hi.", ["Hi."]),
        (None, []),
        ([], []),
        ([TYPED, IMAGE, FILE, REFUSAL], ["Look.", "The file.", "I cannot."]),
        ([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}], ["a", "b"]),
        ([{"type": "text", "text": ""}, {"type": "text", "text": 5}, {"type": "text"}], []),
    ],
)
def test_every_text_of_a_content_is_found_and_nothing_else(content, texts):
    assert list_texts(content) == texts
    assert join_texts(content) == "\n".join(texts)


def test_what_was_typed_is_without_files():
    assert join_typed_texts([FILE, TYPED, IMAGE]) == "Look."
    assert join_typed_texts("Hi.") == "Hi."
    assert join_typed_texts(None) == ""


def test_contents_stay_a_text_as_long_as_all_are():
    assert join_contents(["a", "", "b"]) == "a\n\nb"
    assert join_contents(["a", [IMAGE]]) == [{"type": "text", "text": "a"}, IMAGE]


def test_a_model_reads_messages_calls_tools_and_the_schema_of_its_answer():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {
        "messages": [
            {"role": "user", "content": [TYPED, FILE]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ],
        "tools": [{"type": "function"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n"}},
    }
    assert list_prompt_texts(body) == [
        "Look.",
        "The file.",
        '{"name":"f","arguments":"{}"}',
        '[{"type":"function"}]',
        '{"name":"n"}',
    ]
    assert list_prompt_texts({"prompt": "x", "response_format": {"type": "text"}}) == []
