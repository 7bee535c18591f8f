import pytest

from conversations.messages.opaque_text import (
    OWN_PREFIX,
    decode_opaque_text,
    encode_opaque_text,
    is_own_opaque_text,
)


@pytest.mark.parametrize("text", ["", "Hm, 東京 …", "a\nb"])
def test_a_text_comes_back_as_it_was(text):
    content = encode_opaque_text(text)
    assert is_own_opaque_text(content)
    assert decode_opaque_text(content) == text


@pytest.mark.parametrize("content", [None, 7, "", "gAAAAABo", "another.cHM="])
def test_content_of_another_service_is_not_read(content):
    assert not is_own_opaque_text(content)
    assert decode_opaque_text(content) == ""


@pytest.mark.parametrize("content", ["*", "YQ", "/w==", "ü"])
def test_damaged_content_of_ours_is_ours_and_empty(content):
    assert is_own_opaque_text(OWN_PREFIX + content)
    assert decode_opaque_text(OWN_PREFIX + content) == ""


def test_a_nul_that_was_slipped_in_is_left_out():
    assert decode_opaque_text(encode_opaque_text("a\0b")) == "ab"
