# ruff: noqa: RUF001 - other scripts are the matter here

import random
from base64 import b64encode

import pytest

from conversations.text.token_estimate import estimate_texts, estimate_tokens

NOISE = random.Random(1).randbytes(3_000)


def test_tokens_of_words_and_of_characters_without_spaces():
    assert (
        estimate_tokens(""),
        estimate_tokens("abcdefgh"),
        estimate_tokens("北京大学"),
        estimate_tokens("a北京"),
    ) == (0, 2, 4, 3)


@pytest.mark.parametrize(
    ("text", "real"),
    [  # a sentence and what a tokenizer of many languages (Tekken) makes of it
        (
            (
                "The keeper of the lamp is called Ada and she tends the light every evening until "
                "the morning comes. "
            ),
            20,
        ),
        (
            (
                "Смотрительницу маяка зовут Ада, и каждый вечер она следит за огнём, пока не "
                "наступит утро. "
            ),
            31,
        ),
        (
            (
                "दीपस्तंभ की रखवाली करने वाली का नाम अदा है और वह हर शाम सुबह तक "
                + "रोशनी का ध्यान रखती है। "
            ),
            32,
        ),
        ("ผู้ดูแลประภาคารชื่ออาดาและเธอดูแลแสงไฟทุกเย็นจนถึงเช้า ", 32),
        (
            (
                "Η φύλακας του φάρου ονομάζεται Άντα και φροντίζει το φως κάθε βράδυ μέχρι να "
                "έρθει "
                "το πρωί. "
            ),
            37,
        ),
        ("שומרת המגדלור נקראת עדה והיא מטפלת באור בכל ערב עד שמגיע הבוקר. ", 32),
        ("1739,20881,3.14159,-77,00018,5521;", 33),
        ("灯塔的看守人名叫艾达，她每天晚上都照看灯光，直到早晨到来。", 27),
    ],
)
def test_the_guess_is_near_what_tokenizers_make_of_a_script(text, real):
    assert 0.9 * 50 * real <= estimate_tokens(text * 50) <= 1.35 * 50 * real


def test_encoded_data_weighs_more_than_words():
    data = b64encode(NOISE).decode()
    assert 0.7 * len(data) <= estimate_tokens(data) <= len(data)
    assert 0.5 * len(NOISE.hex()) <= estimate_tokens(NOISE.hex()) <= len(NOISE.hex())


@pytest.mark.parametrize(
    "sign", ["a", "A", "1", "é", "я", "ก", "ந", "ა", "中", "🎈", "\ud800", "\0", "…"]
)
def test_a_sign_is_at_most_one_token_and_never_nothing(sign):
    assert 1 <= estimate_tokens(sign * 5_000) / (5_000 / 4) <= 4


def test_of_many_long_texts_only_the_beginnings_are_weighed():
    texts = ["abcd" * 5_000, "", "北京" * 5_000]
    whole = sum(map(estimate_tokens, texts))
    assert estimate_texts(texts, 10**6) == whole
    assert estimate_texts(texts, 300) == pytest.approx(whole, rel=0.05)
    assert estimate_texts([], 300) == estimate_texts([""], 0) == 0
    assert estimate_texts(["abcd" * 100], 0) == 100
