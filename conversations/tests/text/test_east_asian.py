"""Short texts in older encodings, and old Word documents."""

import pytest

from conversations.text.east_asian import guess_east_asian
from conversations.text.extract import UnreadableDocument, extract_document_text

SHORT_TEXTS = {
    "gb18030": [
        "灯塔的密语是「蓝鲸」",
        "你好「世界」",
        "蓝鲸灯塔",
        "测试文件",
        "今天天气很好。",
        "密码是海风",
    ],
    "big5": ["燈塔的密語是「藍鯨」", "這是一個測試", "今天的天氣很好"],
    "euc_jp": [
        "灯台の合言葉は「青い鯨」",
        "これは日本語の文章です。",
        "こんにちは世界",
        "カタカナ",
    ],
    "shift_jis": ["灯台の合言葉は「青い鯨」", "これは日本語の文章です。", "こんにちは世界"],
    "cp949": ["등대의 암호는 푸른 고래", "안녕하세요 세계", "대한민국", "한글 파일"],
}
OTHER_TEXTS = {
    "cp1252": "Grüße aus Österreich, schöne Straße für Äpfel",
    "latin-1": "Où est l'hôtel? Ça va très bien, à bientôt",
    "cp1251": "Привет, как дела? Это проверка кодировки",
    "koi8-r": "Привет, как дела? Это проверка кодировки текста",
    "cp1253": "Καλημέρα κόσμε, τι κάνεις",
    "cp1255": "שלום עולם",
    "cp874": "สวัสดีชาวโลก นี่คือการทดสอบ",
}


@pytest.mark.parametrize("encoding", SHORT_TEXTS)
def test_a_short_text_is_read_in_its_own_encoding(encoding: str) -> None:
    for text in SHORT_TEXTS[encoding]:
        assert extract_document_text("a.txt", "", text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["gb18030", "euc_jp"])
def test_a_long_text_is_read_too_also_cut_within_a_character(encoding: str) -> None:
    text = "灯塔的密语。" if encoding == "gb18030" else "灯台の合言葉。"
    for shift in range(3):
        whole = "x" * shift + text * 20_000
        assert extract_document_text("a.txt", "", whole.encode(encoding)) == whole


@pytest.mark.parametrize("encoding", OTHER_TEXTS)
def test_other_languages_are_not_taken_for_east_asian_ones(encoding: str) -> None:
    for count in (3, 50):
        text = OTHER_TEXTS[encoding] * count
        assert guess_east_asian(text.encode(encoding), must_be_certain=True) == ""


@pytest.mark.parametrize("content_type", ["", "application/msword"])
def test_an_old_word_document_is_named_as_what_cannot_be_read(content_type: str) -> None:
    name = "report" if content_type else "report.DOC"
    with pytest.raises(UnreadableDocument, match=r"\.doc\), which cannot be read here: save it as"):
        extract_document_text(name, content_type, b"\xd0\xcf\x11\xe0 words")
