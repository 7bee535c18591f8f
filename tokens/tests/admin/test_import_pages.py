"""The pages of an import: a dry run first, then the import, then its undo."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from providers.models import Provider
from tokens.imports.batch_model import BatchState, ImportBatch, ImportText
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db
FIRST, SECOND = "sk-first-0123456789abcdef", "sk-second-0123456789abcdef"
TEXT = f"{FIRST}\n\n{SECOND}\n{FIRST}\nhas space\n"


@pytest.fixture
def operator(client: Client) -> Client:
    person = User.objects.create_superuser("operator", password="operator")
    client.force_login(person)
    return client


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(
        name="acme", kind="openai_compatible", base_url="https://api.example.com/v1"
    )


def make_address(page: str, batch: ImportBatch | None = None) -> str:
    if batch is None:
        return reverse(f"admin:tokens_upstreamtoken_{page}")
    return reverse(f"admin:tokens_importbatch_{page}", args=[batch.pk])


def upload(client: Client, provider: Provider, text: str = TEXT, **values: Any) -> ImportBatch:
    answer = client.post(
        make_address("import"), {"provider": provider.pk, "text": text, **values}, follow=True
    )
    assert answer.status_code == 200, answer.content.decode()
    return ImportBatch.objects.get()


def test_a_dry_run_says_a_verdict_for_each_line_and_imports_nothing(
    operator: Client, provider: Provider
) -> None:
    batch = upload(operator, provider)
    page = operator.get(make_address("change", batch)).content.decode()
    assert batch.state == BatchState.CHECKED
    assert batch.counts == {"new": 2, "twice in the file": 1, "malformed": 1}
    assert (batch.skipped_count, batch.line_count, batch.created_by) == (1, 5, "operator")
    assert not UpstreamToken.objects.exists()
    assert "has a space inside" in page
    assert "Import 2 tokens" in page
    assert FIRST not in page
    assert "sk-fir…cdef" in page


def test_what_was_uploaded_is_in_no_row_session_or_page_in_clear(
    operator: Client, provider: Provider
) -> None:
    batch = upload(operator, provider)
    assert ImportText.objects.get().unseal_text() == TEXT.rstrip("\n")
    page = operator.get(make_address("change", batch)).content.decode()
    kept = [*ImportText.objects.values_list("sealed", flat=True), page, str(batch.__dict__)]
    kept += [str(session.get_decoded()) for session in Session.objects.all()]
    kept += [str(one.verdicts) for one in batch.verdict_pages.all()]
    assert FIRST not in " ".join(kept)


def test_an_import_is_applied_once_however_often_its_button_is_sent(
    operator: Client, provider: Provider
) -> None:
    batch = upload(operator, provider)
    for _ in range(2):
        answer = operator.post(make_address("apply", batch), follow=True)
    assert "2 tokens were imported" in answer.content.decode()
    assert UpstreamToken.objects.filter(import_batch=batch).count() == 2
    assert not ImportText.objects.exists()
    notes = LogEntry.objects.filter(change_message__contains="Tokens imported")
    assert [note.object_repr for note in notes] == ["acme"]
    assert operator.get(make_address("apply", batch)).status_code == 405


def test_an_undo_deletes_the_tokens_of_the_batch_alone_and_keeps_used_ones(
    operator: Client, provider: Provider
) -> None:
    UpstreamToken.from_secret(provider, "sk-known-0123456789abcdef").save()
    batch = upload(operator, provider, f"{TEXT}sk-known-0123456789abcdef\n")
    operator.post(make_address("apply", batch))
    used = UpstreamToken.objects.filter(import_batch=batch).order_by("pk")[0]
    UpstreamToken.objects.filter(pk=used.pk).update(requests=3)
    page = operator.get(make_address("undo", batch)).content.decode()
    assert "1 token that this import made is deleted" in page
    assert used.masked in page
    operator.post(make_address("undo", batch))
    assert {row.masked for row in UpstreamToken.objects.all()} == {used.masked, "sk-kno…cdef"}
    batch.refresh_from_db()
    assert (batch.state, batch.counts["deleted"], batch.counts["kept"]) == ("undone", 1, 1)
    operator.post(make_address("undo", batch), {"used": "on"})
    assert [row.masked for row in UpstreamToken.objects.all()] == ["sk-kno…cdef"]
    assert upload_again(operator, provider) == {"new": 2, "twice in the file": 1, "malformed": 1}


def upload_again(client: Client, provider: Provider) -> dict[str, int]:
    client.post(make_address("import"), {"provider": provider.pk, "text": TEXT})
    counts: dict[str, int] = ImportBatch.objects.order_by("-created_at")[0].counts
    return counts


def test_the_tokens_of_an_import_are_listed(operator: Client, provider: Provider) -> None:
    UpstreamToken.from_secret(provider, "sk-known-0123456789abcdef").save()
    batch = upload(operator, provider)
    page = operator.post(make_address("apply", batch), follow=True).content.decode()
    (link,) = re.findall(r'href="(/admin/tokens/upstreamtoken/\?[^"]*import_batch[^"]*)"', page)
    listed = operator.get(link).content.decode()
    assert "sk-fir…cdef" in listed
    assert "sk-kno…cdef" not in listed


def test_the_list_of_imports_shows_each_and_leads_to_a_new_one(
    operator: Client, provider: Provider
) -> None:
    batch = upload(operator, provider)
    page = operator.get("/admin/tokens/importbatch/").content.decode()
    assert make_address("change", batch) in page
    assert make_address("import") in page
    assert "pasted text" in page


def test_a_discarded_upload_leaves_nothing(operator: Client, provider: Provider) -> None:
    batch = upload(operator, provider)
    operator.post(make_address("discard", batch))
    operator.post(make_address("apply", batch))
    assert not ImportText.objects.exists()
    assert not UpstreamToken.objects.exists()
    batch.refresh_from_db()
    assert batch.state == BatchState.DISCARDED


def test_a_provider_that_asks_for_no_token_is_neither_chosen_nor_taken_by_mistake(
    operator: Client,
) -> None:
    echo, _ = Provider.objects.get_or_create(
        name="echo", defaults={"kind": "echo", "needs_token": False}
    )
    Provider.objects.filter(pk=echo.pk).update(needs_token=False)
    page = operator.get(make_address("import")).content.decode()
    assert not re.search(r'<option value="[0-9]+" selected', page)
    posted = {"provider": echo.pk, "text": TEXT}
    answer = operator.post(make_address("import"), posted)
    assert "asks for no token" in answer.content.decode()
    assert not ImportBatch.objects.exists()
    assert upload(operator, echo, anyway="on").counts["new"] == 2


def test_the_only_provider_that_asks_for_tokens_is_chosen(
    operator: Client, provider: Provider
) -> None:
    page = operator.get(make_address("import")).content.decode()
    assert re.search(rf'<option value="{provider.pk}" selected>acme', page)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "Choose a file, or paste tokens."),
        ({"text": "\n \n"}, "Choose a file, or paste tokens."),
        ({"text": "\n".join("x" * 5 for _ in range(6))}, "5 are allowed"),
    ],
)
def test_an_upload_that_cannot_be_used_says_why(
    operator: Client, provider: Provider, settings: Any, values: dict[str, str], reason: str
) -> None:
    settings.IMPORT_LINES = 5
    answer = operator.post(make_address("import"), {"provider": provider.pk, **values})
    assert reason in answer.content.decode()
    assert not ImportBatch.objects.exists()


def test_verdicts_are_paged_and_filtered(operator: Client, provider: Provider) -> None:
    lines = [f"sk-made-up-{number:08}" for number in range(1_200)]
    lines[650:650] = ["bad one"] * 150
    batch = upload(operator, provider, "\n".join(lines))
    address = make_address("change", batch)
    page = operator.get(f"{address}?page=14").content.decode()
    assert '<td class="number">1350</td>' in page.replace(",", "")
    assert "Further lines" not in page
    page = operator.get(f"{address}?verdict=malformed&page=2").content.decode()
    rows = re.findall(r'<td class="number">(\d+)</td>', page.replace(",", ""))
    assert rows == [str(number) for number in range(751, 801)]


def test_each_step_needs_its_own_permission(client: Client, provider: Provider) -> None:
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    batch = upload(root, provider)
    person = User.objects.create_user("june", is_staff=True)
    client.force_login(person)
    pages = [make_address("import"), make_address("change", batch), make_address("part", batch)]
    posts = [make_address(page, batch) for page in ("apply", "discard", "undo")]
    assert {client.get(page).status_code for page in pages} == {403}
    assert {client.post(page).status_code for page in posts} == {403}
    person.user_permissions.set(
        Permission.objects.filter(codename__in=("view_upstreamtoken", "delete_upstreamtoken"))
    )
    assert [client.get(page).status_code for page in pages] == [403, 200, 200]
    assert [client.post(page).status_code for page in posts] == [403, 403, 302]
