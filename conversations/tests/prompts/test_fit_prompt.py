"""Prompts too long for their model's window fit, and all others are not touched."""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

import pytest

from conversations.documents import document_store, ingest
from conversations.models import Document
from conversations.prompts.text_shortener import FitHelpers
from conversations.tests.prompts.prompt_bodies import (
    ASKED,
    NOTES,
    WINDOW,
    body,
    prompt,
    shorten_prompt,
    system,
)
from conversations.text.token_estimate import estimate_tokens
from providers.database.database_threads import run_in_thread
from providers.exceptions import InvalidRequest
from providers.filters.file_parts import FILE_ID_FIELD, TEXT_FIELD

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.mark.parametrize(
    "given",
    [
        body(ASKED),
        body(system("Be brief."), ASKED),
        body(system("x" * 12_000), ASKED),  # 3,000 tokens
        body({"role": "user", "content": NOTES}),  # what a user says is never touched
        body(*[system("short " * 200)] * 40, ASKED),  # nor are many short prompts
        body({"role": "user", "content": [{"type": "text", "text": NOTES}]}),
    ],
)
async def test_what_fits_or_is_no_document_is_not_touched(alice, given):
    assert await shorten_prompt(given, alice.user.pk, WINDOW, {}) is None
    assert not await run_in_thread(Document.objects.exists)


@pytest.mark.parametrize("role", ["system", "developer"])
async def test_a_long_system_message_becomes_a_document_and_an_excerpt(alice, role):
    given = body(system(role=role), ASKED, temperature=0)
    fitted = await shorten_prompt(given, alice.user.pk, WINDOW, {})
    assert given["messages"][0]["content"] == NOTES
    assert (fitted.body["temperature"], fitted.body["messages"][1]) == (0, ASKED)
    said = fitted.body["messages"][0]
    assert said["role"] == role
    assert said["content"].startswith("You are the archivist.")
    assert "Note 500: " in said["content"].partition("concern the last question")[2]
    assert prompt(fitted.body) <= 0.8 * WINDOW
    assert prompt(fitted.body) > 0.6 * WINDOW
    row = await run_in_thread(Document.objects.get)
    assert (fitted.document_ids, row.state, row.chars) == ([row.pk], "ingested", len(NOTES))


async def test_a_follow_up_question_divides_nothing_again_and_keeps_the_beginning(
    alice, monkeypatch, empty_cache
):
    first = await shorten_prompt(body(system(), ASKED), alice.user.pk, WINDOW, {})

    def refuse(*args):
        raise AssertionError

    monkeypatch.setattr(document_store, "divide_text", refuse)
    empty_cache()
    later = {"role": "user", "content": "And number 1300?"}
    answer = {"role": "assistant", "content": "Note 500."}
    second = await shorten_prompt(body(system(), ASKED, answer, later), alice.user.pk, WINDOW, {})
    assert second.document_ids == first.document_ids
    one, two = (
        each.body["messages"][0]["content"].partition("[The text above") for each in (first, second)
    )
    assert one[0] == two[0]
    assert "Note 100: " in two[2]


async def test_for_nobody_it_is_fitted_and_nothing_is_stored(transactional_db):
    fitted = await shorten_prompt(body(system(), ASKED), None, WINDOW, {})
    assert fitted.document_ids == []
    assert "Note 500: " in fitted.body["messages"][0]["content"]
    assert prompt(fitted.body) <= 0.8 * WINDOW
    assert not await run_in_thread(Document.objects.exists)


async def test_texts_of_files_and_parts_are_fitted_in_their_places(alice):
    file = {"type": "file", "file": {"filename": "notes.txt"}, TEXT_FIELD: NOTES + "From the file."}
    user = {
        "role": "user",
        "content": [{"type": "text", "text": "Which note has number 6500?"}, file],
    }
    parts = {
        "role": "system",
        "content": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": NOTES}],
    }
    fitted = await shorten_prompt(body(parts, user), alice.user.pk, WINDOW, {})
    (_, notes), (asked, given) = (message["content"] for message in fitted.body["messages"])
    assert asked == user["content"][0]
    assert (given["type"], given["file"]) == ("file", {"filename": "notes.txt"})
    for part in (notes, given):
        assert "Note 500: " in part[TEXT_FIELD].partition("concern the last question")[2]
    assert file[TEXT_FIELD].endswith("From the file.")
    assert len(fitted.document_ids) == 2
    assert prompt(fitted.body) <= 0.8 * WINDOW


async def test_chinese_is_fitted_by_its_own_measure(alice):
    notes = "请只根据下面的笔记回答。\n\n" + "".join(
        f"第{n}号笔记：奥尔德姆的渡船编号为{n * 13}。\n\n" for n in range(900)
    )
    question = {"role": "user", "content": "编号为6500的是第几号笔记？"}
    fitted = await shorten_prompt(body(system(notes), question), alice.user.pk, WINDOW, {})
    said = fitted.body["messages"][0]["content"]
    assert said.startswith("请只根据")
    assert "第500号笔记" in said
    assert prompt(fitted.body) <= 0.8 * WINDOW


async def test_a_long_conversation_leaves_the_document_a_part(alice):
    talk = [{"role": "user", "content": "words " * 1_900}, {"role": "assistant", "content": "Yes."}]
    fitted = await shorten_prompt(body(system(), *talk, ASKED), alice.user.pk, WINDOW, {})
    assert fitted.body["messages"][1:] == [*talk, ASKED]
    assert 400 < estimate_tokens(fitted.body["messages"][0]["content"]) <= 0.25 * 0.8 * WINDOW


@pytest.mark.parametrize("window", [1, 40, 120, 300])
async def test_a_tiny_window_has_something_of_it(alice, window):
    fitted = await shorten_prompt(body(system(), ASKED), alice.user.pk, window, {})
    assert len(fitted.body["messages"][0]["content"]) <= 4 * window


@pytest.mark.settings(FILE_TEXT_CHARS=10_000)
async def test_a_text_beyond_all_measure_is_refused(alice):
    with pytest.raises(InvalidRequest, match="10000") as caught:
        await shorten_prompt(body(system(), ASKED), alice.user.pk, WINDOW, {})
    assert caught.value.shown_code == "context_length_exceeded"


async def test_the_profile_says_how(alice):
    options = {"processor": {"batch_size": 200, "entropy_method": "word"}, "rag": {"top_k": 2}}
    fitted = await shorten_prompt(body(system(), ASKED), alice.user.pk, WINDOW, options)
    found = fitted.body["messages"][0]["content"].partition("concern the last question:]")[2]
    assert "Note 500: " in found
    assert 1 <= found.count("Note ") <= 8
    passages = await run_in_thread(lambda: list(Document.objects.get().passages.all()))
    assert max(len(one.text) for one in passages) <= 200


async def test_an_embedding_of_the_question_is_asked_for_once(alice):
    asked = []

    async def embed(texts):
        asked.append(list(texts))
        return [[1.0, 0.0]]

    await shorten_prompt(body(system(), ASKED), alice.user.pk, WINDOW, {}, FitHelpers(embed=embed))
    assert asked == [["Which note has number 6500?"]]


async def test_the_head_and_the_tail_of_instructions_stay(alice):
    rules = "".join(
        f"Rule {n}: answer number {n} in its own way and never in that of another.\n"
        for n in range(20)
    )
    notes = "".join(
        f"Note {n}: the market of Oldham has number {n * 13}.\n\n" for n in range(1_500)
    )
    for text in (rules + notes + rules, notes + rules):
        fitted = await shorten_prompt(body(system(text), ASKED), alice.user.pk, 8_000, {})
        shown = fitted.body["messages"][0]["content"].partition("\n\n[The text above")[0]
        assert shown.startswith(text[:1_000])
        assert shown.endswith(rules)
        assert prompt(fitted.body) <= 0.8 * 8_000
    file = {"type": "file", "file": {"filename": "notes.txt"}, TEXT_FIELD: notes + rules}
    user = {
        "role": "user",
        "content": [{"type": "text", "text": "Which note has number 6500?"}, file],
    }
    fitted = await shorten_prompt(body(user), alice.user.pk, 8_000, {})
    assert (
        not fitted.body["messages"][0]["content"][1][TEXT_FIELD]
        .partition("\n\n[The text above")[0]
        .endswith(rules)
    )


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_answer_has_its_room(alice, name):
    fitted = await shorten_prompt(body(system(), ASKED, **{name: 1_800}), alice.user.pk, WINDOW, {})
    assert 0.5 * WINDOW < prompt(fitted.body) + 1_800 <= WINDOW


@pytest.mark.parametrize(("said", "least"), [(12_000, 200), (15_000, 1), (40_000, 0)])
async def test_long_texts_have_no_more_than_the_window_leaves(alice, said, least):
    talk = [
        {"role": "user", "content": "word " * (said // 5)},
        {"role": "assistant", "content": "Yes."},
    ]
    fitted = await shorten_prompt(body(system(), *talk, ASKED), alice.user.pk, WINDOW, {})
    assert fitted.body["messages"][1:] == [*talk, ASKED]
    shown = estimate_tokens(fitted.body["messages"][0]["content"])
    assert least <= shown <= max(0, WINDOW - said // 4)


async def test_numbers_fit_too(alice):
    rows = "".join(
        f"{n},{n * 13 % 1_000},{n * 7_919 % 100_000},{n * 31}.{n % 97}\n" for n in range(3_000)
    )
    fitted = await shorten_prompt(
        body(system("Ledger.\n\n" + rows), ASKED), alice.user.pk, WINDOW, {}
    )
    assert 0.5 * WINDOW < prompt(fitted.body) <= 0.8 * WINDOW


async def test_whose_file_and_whose_turn_it_is_are_passed_on(monkeypatch, alice):
    given = []

    async def take_in(user_id, text, splitting, **more):
        given.append(more)
        return await taken_in(None, text, splitting)

    taken_in = ingest.ingest_text
    monkeypatch.setattr(ingest, "ingest_text", take_in)
    file = {
        "type": "file",
        "file": {"filename": "notes.txt"},
        TEXT_FIELD: NOTES,
        FILE_ID_FIELD: "file-1",
    }
    await shorten_prompt(
        body(system(), {"role": "user", "content": [file]}),
        None,
        WINDOW,
        {},
        FitHelpers(queue_key=7),
    )
    assert given == [{"file_id": "", "queue": 7}, {"file_id": "file-1", "queue": 7}]
