"""Search: every language, one's own only, and nothing of what is gone."""

import uuid

import pytest
from django.db import connection, transaction
from django.utils import timezone

from conversations.models import (
    Conversation,
    ConversationKind,
    Item,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.search import full_text_index, item_search

pytestmark = pytest.mark.usefixtures("transactional_db")


def conversation(user, *texts, title="", **fields):
    """A conversation with a turn whose messages these are, findable."""
    row = Conversation.objects.create(user=user, kind=ConversationKind.OPEN, title=title, **fields)
    say(row, *texts)
    return row


def say(row, *texts):
    row.last += 1
    row.save()
    turn = Turn.objects.create(
        conversation=row,
        user_id=row.user_id,
        number=row.last,
        door=TurnEndpoint.CHAT,
        status=TurnStatus.COMPLETED,
    )
    with transaction.atomic():
        made = Item.objects.bulk_create(
            Item(
                public_id=f"msg_{uuid.uuid4().hex}",
                conversation=row,
                turn=turn,
                type="message",
                role="user",
                text=text,
                data={
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": text}],
                },
            )
            for text in texts
        )
        item_search.add_items_to_index(row.user_id, made)
    return made


def found(person, query, limit=100, before=None):
    return [hit.snippet for hit in item_search.search_items(person.user.pk, query, limit, before)]


def in_the_index():
    """Everything that the index holds, as text."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT words::text FROM conversations_words")
            return str(cursor.fetchall())
        tables = connection.introspection.table_names(cursor)
        rows = []
        for table in tables:
            if table.startswith("conversations_words"):
                cursor.execute(f"SELECT * FROM {table}")
                rows.append(cursor.fetchall())
        return str(rows)


def test_a_word_is_found_whatever_its_case_accent_or_ending(alice):
    conversation(alice.user, "The Studies of Zürich's cafés", "nothing of the kind")
    for query in (
        "study",
        "STUDIES",
        "zurich",
        "Zürich",
        "cafe",
        "Café",
        "\uff43\uff41\uff46\uff45",
    ):
        assert found(alice, query) == ["The Studies of Zürich's cafés"], query
    assert found(alice, "stud") == []


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
    conversation(alice.user, text, "something else, 別の話")
    for query in queries:
        assert found(alice, query) == [text], query


def test_all_words_must_be_there_in_any_order(alice):
    conversation(alice.user, "red apples and green pears", "red cars", "green trees")
    assert found(alice, "green red") == ["red apples and green pears"]
    assert found(alice, "red blue") == []


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
    conversation(alice.user, "red and not a table to drop x", "blue")
    assert found(alice, query) in (["red and not a table to drop x"], [])
    assert found(alice, "red") == ["red and not a table to drop x"]


@pytest.mark.parametrize("query", ["", " ", "…", "?!", "☃", "' OR 1", "\0", "§1"])
def test_a_query_without_a_word_that_is_there_finds_nothing(alice, query):
    conversation(alice.user, "the first")
    assert found(alice, query) == []


def test_nobody_finds_what_is_anothers(alice, mallory):
    conversation(
        alice.user, f"secret {full_text_index.user_word(mallory.user.pk)} {mallory.user.pk}"
    )
    assert found(mallory, "secret") == []
    assert found(mallory, str(mallory.user.pk)) == []
    assert found(alice, "secret") != []
    assert [hit.conversation.user_id for hit in item_search.search_items(None, "secret", 10)] == [
        alice.user.pk
    ]


def test_the_newest_come_first_and_pages_go_on(alice):
    row = conversation(alice.user, *(f"word number {n}" for n in range(7)))
    first = item_search.search_items(alice.user.pk, "word", 3)
    assert [hit.snippet for hit in first] == ["word number 6", "word number 5", "word number 4"]
    assert found(alice, "word", 3, first[-1].item.pk) == [
        "word number 3",
        "word number 2",
        "word number 1",
    ]
    assert found(
        alice, "word", 3, item_search.search_items(alice.user.pk, "word", 6)[-1].item.pk
    ) == ["word number 0"]
    assert {hit.conversation for hit in first} == {row}


def test_rare_words_are_found_behind_more_items_than_are_looked_through(alice, monkeypatch):
    monkeypatch.setattr(full_text_index, "RECENT_ITEMS", 5)
    conversation(alice.user, "a needle", *(f"hay {n}" for n in range(30)))
    assert found(alice, "needle") == ["a needle"]
    assert len(found(alice, "hay", 10)) == 10
    assert len(found(alice, "hay")) == 30


@pytest.mark.parametrize("older", [0, 1, 3])
def test_spans_of_the_index_are_asked_one_after_the_other_without_a_gap(
    alice, mallory, monkeypatch, older
):
    monkeypatch.setattr(full_text_index, "RECENT_ITEMS", 1)
    monkeypatch.setattr(full_text_index, "SPAN_BITS", 2)
    monkeypatch.setattr(full_text_index, "RECENT_SPANS", 2)
    conversation(mallory.user, *(f"needle {n}" for n in range(older)))
    texts = [f"needle {n}" if n % 3 else f"hay {n}" for n in range(40)]
    conversation(alice.user, *texts)
    expected = [text for text in texts[::-1] if text.startswith("needle")]
    assert found(alice, "needle") == expected
    pages, before = [], None
    while hits := item_search.search_items(alice.user.pk, "needle", 5, before):
        pages += [hit.snippet for hit in hits]
        before = hits[-1].item.pk
    assert pages == expected


def test_what_has_expired_is_not_found_and_takes_no_place(alice):
    conversation(alice.user, "word kept")
    conversation(alice.user, *(f"word {n}" for n in range(8)), expires_at=timezone.now())
    assert found(alice, "word", 2) == ["word kept"]


def test_long_texts_are_findable_by_their_beginning(alice, settings):
    settings.SEARCH_TEXT_CHARS = 1_000
    conversation(alice.user, "first " + "x" * 999 + " last")
    assert len(found(alice, "first")) == 1
    assert found(alice, "last") == []


def test_the_longest_texts_fit_in_any_script(alice, settings):
    settings.SEARCH_TEXT_CHARS = 1_000_000
    han = "".join(chr(0x20000 + n % 42_000) for n in range(300_000))
    conversation(alice.user, han, " ".join(f"{n}𐐀" * 5 for n in range(30_000)), "́ ़ ् word")
    assert len(found(alice, han[:2])) == 1
    assert len(found(alice, "word")) == 1


def test_the_snippet_is_around_the_word(alice):
    long = "before " * 100 + "the Needle\nin  it " + "after " * 100
    conversation(alice.user, long)
    (snippet,) = found(alice, "needle")
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
    assert text[-3:].strip()[-2:] in item_search.build_snippet(
        text, full_text_index.query_words(query)
    )


def test_a_word_inside_another_is_not_taken_for_it():
    assert item_search.build_snippet("restart " * 60 + "art", ["art"]).endswith("restart art")


@pytest.mark.parametrize("deed", ["queryset", "cascade", "sql", "user"])
def test_words_go_with_their_item_whatever_deletes_it(alice, mallory, deed):
    row = conversation(alice.user, *(f"canary{n} 金絲雀" for n in range(20)))
    conversation(mallory.user, "kept")
    if deed == "queryset":
        Item.objects.filter(conversation=row).delete()
    elif deed == "cascade":
        row.delete()
    elif deed == "user":
        alice.user.delete()
    else:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM conversations_item WHERE conversation_id = %s", [row.pk])
    assert full_text_index.remove_deleted_words(60)
    assert "canary" not in in_the_index()
    assert "金絲" not in in_the_index()
    assert "kept" in in_the_index()
    assert found(alice, "canary1") == []
    assert found(mallory, "kept") == ["kept"]


def test_merging_goes_on_where_it_stopped(alice):
    if connection.vendor == "postgresql":
        assert full_text_index.remove_deleted_words(0)
        return
    for n in range(30):
        row = conversation(alice.user, f"canary{n} " + " ".join(f"w{n}x{m}" for m in range(500)))
        if n % 2:
            row.delete()
    calls = 0
    while not full_text_index.remove_deleted_words(0):
        calls += 1
        assert calls < 1_000
    assert "canary1 " not in in_the_index()
    assert found(alice, "canary2") != []
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO conversations_words_index (conversations_words_index) VALUES "
            "('integrity-check')"
        )


def test_a_rolled_back_item_leaves_no_word(alice):
    row = conversation(alice.user, "first")
    with transaction.atomic():
        say(row, "second")
        transaction.set_rollback(True)
    assert found(alice, "second") == []
    assert "second" not in in_the_index()


def test_many_items_are_one_statement_for_hundreds(alice, django_assert_num_queries):
    row = conversation(alice.user, "first")
    turn = row.turns.get()
    made = Item.objects.bulk_create(
        Item(
            public_id=f"msg_{n}",
            conversation=row,
            turn=turn,
            type="message",
            text=f"text {n}",
            data={},
        )
        for n in range(full_text_index.ROWS_AT_A_TIME)
    )
    with django_assert_num_queries(1):
        item_search.add_items_to_index(alice.user.pk, made)
    assert len(found(alice, "text", 500)) == full_text_index.ROWS_AT_A_TIME
