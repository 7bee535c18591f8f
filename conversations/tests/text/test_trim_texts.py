"""Texts share their room fairly and are cut at borders."""

import pytest

from conversations.text.token_estimate import estimate_tokens
from conversations.text.trim_texts import CUT_MARK, cut_text, trim_texts

SENTENCE = "灯塔的门从外面打不开。"


def test_texts_that_fit_stay_as_they_are() -> None:
    texts = ["one", SENTENCE, ""]
    assert trim_texts(texts, 100) == texts


def test_short_texts_stay_whole_and_long_ones_share_the_rest() -> None:
    short, *long = trim_texts([SENTENCE, SENTENCE * 50, SENTENCE * 100], 300)
    assert short == SENTENCE
    tokens = [estimate_tokens(text) for text in long]
    assert all(130 <= count <= 150 for count in tokens)
    assert all(text.endswith("。" + CUT_MARK) for text in long)


@pytest.mark.parametrize("room", [-5, 0, 1, 2, 3, 10, 57, 500])
@pytest.mark.parametrize("text", [SENTENCE * 40, "word " * 400, "x" * 3_000, "12, 34; " * 200])
def test_a_cut_text_never_has_more_tokens_than_it_may(text: str, room: int) -> None:
    cut = cut_text(text, room)
    assert estimate_tokens(cut) <= max(0, room)
    assert text.startswith(cut.removesuffix(CUT_MARK))
