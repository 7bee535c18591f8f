import pytest

from api.responses.output.objects import build_response_head
from api.responses.request.encrypted_reasoning import (
    INCLUDE_VALUE,
    decode_input_reasoning,
    decode_reasoning_item,
)
from conversations.messages.opaque_text import OWN_PREFIX, encode_opaque_text

TEXT = "Hm, 東京 …"
BODY = {"model": "m", "include": [INCLUDE_VALUE]}
ID = "0" * 32


def thought(text):
    return [{"type": "reasoning_text", "text": text}]


def test_what_was_sealed_is_opened():
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "encrypted_content": encode_opaque_text(TEXT),
    }
    assert decode_reasoning_item(item) == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": thought(TEXT),
    }


def test_an_item_that_says_its_text_loses_only_the_seal():
    item = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": TEXT}],
        "encrypted_content": encode_opaque_text(TEXT),
    }
    assert decode_reasoning_item(item) == {"type": "reasoning", "summary": item["summary"]}


@pytest.mark.parametrize("sealed", [None, "", "gAAAAABo", "another.cHM="])
def test_what_another_service_sealed_stays_as_it_came(sealed):
    item = {"type": "reasoning", "summary": [], "encrypted_content": sealed}
    assert decode_reasoning_item(item) == item


@pytest.mark.parametrize("sealed", ["*", "YQ", "/w==", "ü"])
def test_what_was_damaged_on_its_way_is_nothing(sealed):
    assert decode_reasoning_item(
        {"type": "reasoning", "summary": [], "encrypted_content": OWN_PREFIX + sealed}
    ) == {
        "type": "reasoning",
        "summary": [],
    }


def test_a_nul_that_was_slipped_in_is_left_out():
    item = {"type": "reasoning", "summary": [], "encrypted_content": encode_opaque_text("a\0b")}
    assert decode_reasoning_item(item)["content"] == thought("ab")


def test_a_body_keeps_everything_else():
    question = {"role": "user", "content": "Hi"}
    body = {
        "model": "m",
        "input": [
            question,
            {"type": "reasoning", "summary": [], "encrypted_content": encode_opaque_text("a")},
        ],
    }
    assert decode_input_reasoning(body)["input"] == [
        question,
        {"type": "reasoning", "summary": [], "content": thought("a")},
    ]
    assert decode_input_reasoning({"model": "m", "input": "Hi"}) == {"model": "m", "input": "Hi"}


def test_it_is_sealed_for_who_asks_when_nothing_is_stored():
    assert build_response_head(BODY, ID, 0, stored=False).wants_encrypted_content
    assert not build_response_head(BODY, ID, 0, stored=True).wants_encrypted_content
    assert not build_response_head({"model": "m"}, ID, 0, stored=False).wants_encrypted_content
