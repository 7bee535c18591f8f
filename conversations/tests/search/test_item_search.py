"""Search: every language, one's own only, and nothing of what is gone."""

import pytest
from django.utils import timezone

from conversations.search import item_search
from conversations.search.index_words import query_words, user_word
from conversations.tests.search.indexed_items import create_conversation, find_snippets

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_a_word_is_found_whatever_its_case_accent_or_ending(alice):
    create_conversation(alice.user, "The Studies of Zürich's cafés", "nothing of the kind")
    for query in (
        "study",
        "STUDIES",
        "zurich",
        "Zürich",
        "cafe",
        "Café",
        "\uff43\uff41\uff46\uff45",
    ):
        assert find_snippets(alice, query) == ["The Studies of Zürich's cafés"], query
    assert find_snippets(alice, "stud") == []


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ("我在北京大学学习中文", ["北京", "北京大学", "学", "习中文", "文", "我"]),
        ("東京タワーに行きました", ["東京", "タワー", "京", "行きました"]),
        ("안녕하세요 세계", ["안녕", "세계", "녕", "하세요"]),
        ("สวัสดีชาวโลก", ["สวัสดี", "โลก"]),
        ("Привет, мир", ["привет", "МИР"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("GPT模型and 数据", ["gpt", "模型", "gpt 数据", "and模型"]),
    ],
)
def test_every_language_is_found_by_its_parts(alice, text, queries):
    create_conversation(alice.user, text, "something else, 別の話")
    for query in queries:
        assert find_snippets(alice, query) == [text], query


def test_all_words_must_be_there_in_any_order(alice):
    create_conversation(alice.user, "red apples and green pears", "red cars", "green trees")
    assert find_snippets(alice, "green red") == ["red apples and green pears"]
    assert find_snippets(alice, "red blue") == []


@pytest.mark.parametrize(
    "query",
    [
        '"red"',
        "red*",
        "red AND",
        "red | ",
        "(red",
        "red:",
        "'red'",
        "red'; DROP TABLE x; --",
        "!red",
        "red\\",
        "-red",
        "re%d",
    ],
)
def test_operators_and_quotes_are_only_text(alice, query):
    create_conversation(alice.user, "red and not a table to drop x", "blue")
    assert find_snippets(alice, query) in (["red and not a table to drop x"], [])
    assert find_snippets(alice, "red") == ["red and not a table to drop x"]


@pytest.mark.parametrize("query", ["", " ", "…", "?!", "☃", "' OR 1", "\0", "§1"])
def test_a_query_without_a_word_that_is_there_finds_nothing(alice, query):
    create_conversation(alice.user, "the first")
    assert find_snippets(alice, query) == []


def test_nobody_finds_what_is_anothers(alice, mallory):
    create_conversation(alice.user, f"secret {user_word(mallory.user.pk)} {mallory.user.pk}")
    assert find_snippets(mallory, "secret") == []
    assert find_snippets(mallory, str(mallory.user.pk)) == []
    assert find_snippets(alice, "secret") != []
    assert [hit.conversation.user_id for hit in item_search.search_items(None, "secret", 10)] == [
        alice.user.pk
    ]


def test_the_newest_come_first_and_pages_go_on(alice):
    row = create_conversation(alice.user, *(f"word number {n}" for n in range(7)))
    first = item_search.search_items(alice.user.pk, "word", 3)
    assert [hit.snippet for hit in first] == ["word number 6", "word number 5", "word number 4"]
    assert find_snippets(alice, "word", 3, first[-1].item.pk) == [
        "word number 3",
        "word number 2",
        "word number 1",
    ]
    assert find_snippets(
        alice, "word", 3, item_search.search_items(alice.user.pk, "word", 6)[-1].item.pk
    ) == ["word number 0"]
    assert {hit.conversation for hit in first} == {row}


def test_what_has_expired_is_not_found_and_takes_no_place(alice):
    create_conversation(alice.user, "word kept")
    create_conversation(alice.user, *(f"word {n}" for n in range(8)), expires_at=timezone.now())
    assert find_snippets(alice, "word", 2) == ["word kept"]


def test_long_texts_are_findable_by_their_beginning(alice, settings):
    settings.SEARCH_TEXT_CHARS = 1_000
    create_conversation(alice.user, "first " + "x" * 999 + " last")
    assert len(find_snippets(alice, "first")) == 1
    assert find_snippets(alice, "last") == []


def test_the_snippet_is_around_the_word(alice):
    long = "before " * 100 + "the Needle\nin  it " + "after " * 100
    create_conversation(alice.user, long)
    (snippet,) = find_snippets(alice, "needle")
    assert "the Needle in it after" in snippet
    assert snippet.startswith("…before")
    assert snippet.endswith("…")
    assert len(snippet) <= item_search.SNIPPET_CHARS + 2


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("x " * 200 + "Cafés", "cafe"),
        ("x " * 200 + "parties", "party"),
        ("字" * 300 + "北京", "京"),
    ],
)
def test_the_snippet_shows_other_forms_of_the_word(text, query):
    assert text[-3:].strip()[-2:] in item_search.build_snippet(text, query_words(query))


def test_a_word_inside_another_is_not_taken_for_it():
    assert item_search.build_snippet("restart " * 60 + "art", ["art"]).endswith("restart art")
