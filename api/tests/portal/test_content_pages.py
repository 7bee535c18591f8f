"""A user's own conversations and files: read as text, found, exported and deleted."""

from collections.abc import AsyncIterator, Callable

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import Client

from api.portal.own_content import content_deletion
from api.tests.portal.conftest import Content, create_conversation
from conversations import tasks
from conversations.files import file_storage
from conversations.models import Conversation, Item, StoredFile

pytestmark = pytest.mark.usefixtures("transactional_db")
CONVERSATIONS = "/portal/conversations/"


def read_stream(answer: object) -> bytes:
    async def join(pieces: AsyncIterator[bytes]) -> bytes:
        return b"".join([piece async for piece in pieces])

    return async_to_sync(join)(answer.streaming_content)  # type: ignore[attr-defined]


def test_the_content_of_a_conversation_is_text_and_never_html(browser: Client, alice: User) -> None:
    row = create_conversation(alice, "<script>alert(1)</script>", "<b>bold</b> **stars**")
    html = browser.get(f"{CONVERSATIONS}{row.pk}/").content.decode()
    assert "<script>alert" not in html
    assert "&lt;b&gt;bold&lt;/b&gt; **stars**" in html


def test_a_word_finds_the_message_and_leads_to_its_turn(browser: Client, alice: User) -> None:
    row = create_conversation(alice, "Where is Graz?", "In Styria.")
    create_conversation(alice, "Where is Linz?", "In Upper Austria.")
    html = browser.get(CONVERSATIONS, {"q": "graz"}).content.decode()
    question = Item.objects.get(conversation=row, role="user")
    link = f"{CONVERSATIONS}{row.pk}/?hit={question.pk}#item-{question.pk}"
    assert link in html
    assert f'is-hit" id="item-{question.pk}"' in browser.get(link).content.decode()
    assert "Linz" not in html
    assert "Nothing found" in browser.get(CONVERSATIONS, {"q": "Bregenz"}).content.decode()


def test_a_long_list_has_further_pages_without_gaps(
    browser: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.portal.own_content.conversation_pages.CONVERSATIONS_SHOWN", 2)
    for number in range(5):
        create_conversation(alice, f"question {number}", "answer")
    shown: list[str] = []
    before = ""
    for _page in range(3):
        context = browser.get(CONVERSATIONS, {"before": before}).context
        shown += [row.title for row in context["conversations"]]
        before = context["next_before"]
    assert sorted(shown) == [f"question {number}" for number in range(5)]
    assert before == ""


def test_conversations_are_exported_as_json_lines_and_markdown(
    browser: Client, alice: User
) -> None:
    row = create_conversation(alice, "Where is Graz?", "In Styria.")
    lines = read_stream(browser.get(f"{CONVERSATIONS}{row.pk}/export/")).splitlines()
    assert len(lines) == 4, "the conversation, its turn and two items"
    markdown = browser.get(f"{CONVERSATIONS}export/", {"format": "markdown"})
    assert "attachment" in markdown.headers["content-disposition"]
    assert b"In Styria." in read_stream(markdown)
    assert browser.get(f"{CONVERSATIONS}export/", {"format": "exe"}).status_code == 404


def test_one_conversation_is_deleted_after_a_question(browser: Client, alice: User) -> None:
    row = create_conversation(alice, "Where is Graz?", "In Styria.")
    other = create_conversation(alice, "Where is Linz?", "In Upper Austria.")
    page = f"{CONVERSATIONS}{row.pk}/delete/"
    assert "Where is Graz?" in browser.get(page).content.decode()
    assert Conversation.objects.filter(pk=row.pk).exists(), "a GET deletes nothing"
    browser.post(page)
    assert list(Conversation.objects.values_list("pk", flat=True)) == [other.pk]


def test_all_conversations_are_deleted_only_when_the_own_name_is_typed(
    browser: Client, alice: User, mallory: User
) -> None:
    create_conversation(alice, "Where is Graz?", "In Styria.")
    foreign = create_conversation(mallory, "Where is Linz?", "In Upper Austria.")
    page = f"{CONVERSATIONS}delete/"
    wrong = browser.post(page, {"username": "mallory"})
    assert "Nothing was deleted" in wrong.content.decode()
    assert Conversation.objects.count() == 2
    browser.post(page, {"username": "alice"})
    assert list(Conversation.objects.values_list("pk", flat=True)) == [foreign.pk]


def test_many_conversations_vanish_at_once_and_are_removed_by_the_worker(
    browser: Client, alice: User, mallory: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[object, ...]] = []
    monkeypatch.setattr(content_deletion, "QUICK_ITEMS", 1)
    monkeypatch.setattr(content_deletion, "send_task", lambda *call: sent.append(call))
    row = create_conversation(alice, "Where is Graz?", "In Styria.")
    foreign = create_conversation(mallory, "Where is Linz?", "In Upper Austria.")
    answer = browser.post(f"{CONVERSATIONS}delete/", {"username": "alice"}, follow=True)
    assert "removed in the background" in answer.content.decode()
    assert browser.get(f"{CONVERSATIONS}{row.pk}/").status_code == 404
    assert sent == [("conversations.tasks.delete_expired_of_user", alice.pk)]
    assert tasks.delete_expired_of_user(alice.pk) == 1
    assert list(Conversation.objects.values_list("pk", flat=True)) == [foreign.pk]


def test_a_file_is_downloaded_never_as_a_page_and_deleted(browser: Client, alice: User) -> None:
    upload = file_storage.Upload("a<b>.html", "text/html", "user_data", iter([b"<h1>"]), None)
    row = file_storage.store_file(alice.pk, upload)
    answer = browser.get(f"/portal/files/{row.pk}/")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert read_stream(answer) == b"<h1>"
    browser.get(f"/portal/files/{row.pk}/delete/")
    assert StoredFile.objects.exists()
    browser.post(f"/portal/files/{row.pk}/delete/")
    assert not StoredFile.objects.exists()
    assert not file_storage.path_of(row.pk).exists()


def test_all_files_are_deleted_only_when_the_own_name_is_typed(
    browser: Client, alice: User, mallory: User, create_content: Callable[[User], Content]
) -> None:
    create_content(alice)
    foreign = create_content(mallory)
    browser.post("/portal/files/delete/", {"username": "Alice"})
    assert StoredFile.objects.count() == 2
    browser.post("/portal/files/delete/", {"username": "alice"})
    assert StoredFile.objects.get().pk == foreign.file.pk


def test_many_files_vanish_at_once_and_are_removed_by_the_worker(
    browser: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(content_deletion, "QUICK_FILES", 1)
    monkeypatch.setattr(content_deletion, "send_task", sent.append)
    for number in range(2):
        upload = file_storage.Upload(f"{number}.txt", "", "user_data", iter([b"x"]), None)
        file_storage.store_file(alice.pk, upload)
    answer = browser.post("/portal/files/delete/", {"username": "alice"}, follow=True)
    assert "2 files were deleted" in answer.content.decode()
    assert "No files" in answer.content.decode()
    assert sent == ["conversations.tasks.sweep_files"]
    tasks.sweep_files()
    assert not StoredFile.objects.exists()
