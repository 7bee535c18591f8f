"""Batches of imports: the worker goes on where a process died, and texts and verdicts end."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from providers import vault
from providers.models import Provider, TaskProgress
from tokens import tasks
from tokens.imports import batch_work, import_batches, undo_import
from tokens.imports.batch_model import BatchState, ImportBatch, ImportText, VerdictPage
from tokens.imports.token_import import BATCH_SIZE
from tokens.models import UpstreamAccount, UpstreamToken

pytestmark = pytest.mark.django_db
LINES = [f"sk-made-up-{number:08}" for number in range(2 * BATCH_SIZE + 5)]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_batches, "PAUSE_SECONDS", 0)


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(name="p", kind="echo")


def create_batch(provider: Provider, lines: list[str] = LINES) -> ImportBatch:
    return import_batches.create_batch(provider, lines, source="keys.txt", by="june")


def start_import(batch: ImportBatch) -> None:
    batch_work.work_at_batch(batch.pk)
    assert import_batches.start_import(batch)


def test_a_batch_is_checked_imported_and_undone_with_progress(provider: Provider) -> None:
    batch = create_batch(provider)
    start_import(batch)
    assert not UpstreamToken.objects.exists()
    assert tasks.work_at_import(str(batch.pk))
    assert UpstreamToken.objects.filter(import_batch=batch).count() == len(LINES)
    undo_import.start_undo(batch, by="karl", deletes_used=False)
    batch_work.work_at_batch(batch.pk)
    assert not UpstreamToken.objects.exists()
    done = TaskProgress.objects.order_by("started_at")
    assert [(row.title, row.text, row.failed) for row in done] == [
        ("Check of keys.txt for p", "1005 new, 0 malformed.", False),
        ("Import of keys.txt for p", "1005 new, 0 malformed.", False),
        ("Undoing the import of keys.txt for p", "1005 tokens deleted.", False),
    ]
    assert [row.started_by for row in done] == ["june", "june", "karl"]


@pytest.mark.settings(IMPORT_INLINE_LINES=10)
def test_a_long_document_in_one_line_counts_as_several(provider: Provider) -> None:
    keys = ",".join(f'"{line}"' for line in LINES)
    batch = create_batch(provider, [f"[{keys}]"])
    assert batch.line_count > 10  # so that the worker checks it, and nobody waits
    batch_work.work_at_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.line_count == len(LINES)


def test_after_a_crash_the_next_run_goes_on_and_counts_the_same(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = create_batch(provider)
    start_import(batch)
    with monkeypatch.context() as patched:

        def die(*args: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(import_batches, "renew_lease", die)
        with pytest.raises(KeyboardInterrupt):
            batch_work.work_at_batch(batch.pk)
    assert UpstreamToken.objects.count() == BATCH_SIZE
    assert tasks.carry_on_imports() == 1
    batch.refresh_from_db()
    assert (batch.state, batch.counts) == (BatchState.IMPORTED, {"new": len(LINES)})
    assert UpstreamToken.objects.filter(import_batch=batch).count() == len(LINES)
    assert tasks.carry_on_imports() == 0


def test_two_workers_never_work_at_one_batch(provider: Provider) -> None:
    batch = create_batch(provider)
    ImportBatch.objects.filter(pk=batch.pk).claim_lease("working_until", 60)
    assert not batch_work.work_at_batch(batch.pk)
    assert tasks.carry_on_imports() == 0
    batch.refresh_from_db()
    assert batch.state == BatchState.WAITING


def test_somebody_may_stop_a_running_import(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = create_batch(provider)
    start_import(batch)
    batch.refresh_from_db()
    batch.state = BatchState.IMPORTING
    import_batches.import_batch(batch, lambda done: False)
    batch.refresh_from_db()
    assert batch.state == BatchState.IMPORTED
    assert batch.counts["new"] == UpstreamToken.objects.count() == BATCH_SIZE


def test_a_text_that_nobody_imports_is_deleted(provider: Provider) -> None:
    batch = create_batch(provider)
    batch_work.work_at_batch(batch.pk)
    assert tasks.carry_on_imports() == 0
    assert ImportText.objects.exists()
    ImportBatch.objects.update(text_expires_at=timezone.now() - timedelta(seconds=1))
    tasks.carry_on_imports()
    batch.refresh_from_db()
    assert batch.state == BatchState.DISCARDED
    assert not ImportText.objects.exists()
    assert not import_batches.start_import(batch)


def test_old_verdicts_are_deleted(provider: Provider, settings: Any) -> None:
    batch = create_batch(provider)
    batch_work.work_at_batch(batch.pk)
    old = timezone.now() - timedelta(days=settings.IMPORT_VERDICT_DAYS, seconds=60)
    ImportBatch.objects.update(created_at=old)
    tasks.carry_on_imports()
    assert not VerdictPage.objects.exists()


def test_a_text_sealed_with_a_key_that_is_gone_is_discarded(provider: Provider) -> None:
    batch = create_batch(provider)
    ImportText.objects.update(sealed="v1.gone.AAAA")
    batch_work.work_at_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.state == BatchState.DISCARDED


def test_a_piece_of_a_text_opens_in_its_place_only(provider: Provider) -> None:
    first, second = create_batch(provider), create_batch(provider)
    piece = first.texts.get()
    ImportText.objects.filter(batch=second).update(sealed=piece.sealed)
    with pytest.raises(vault.VaultError):
        second.texts.get().unseal_text()


def test_verdicts_come_in_the_order_of_the_lines(provider: Provider) -> None:
    lines = list(LINES)
    lines[100:100] = ["bad one"] * 700
    batch = create_batch(provider, lines)
    batch_work.work_at_batch(batch.pk)
    numbers = [one.line for one in import_batches.read_verdicts(batch)]
    assert numbers == list(range(1, len(lines) + 1))
    page = [one.line for one in import_batches.read_verdicts(batch, "malformed", 450, 100)]
    assert page == list(range(551, 651))
    assert not list(import_batches.read_verdicts(batch, "malformed", 700, 100))


def test_an_undo_deletes_new_accounts_and_says_which_passwords_were_changed() -> None:
    provider = Provider.objects.create(
        name="k", kind="k2think_web", base_url="https://k.example/api"
    )
    import_batches.import_as_batch(provider, ["june@example.org:first"], source="a")
    report, batch = import_batches.import_as_batch(
        provider, ["june@example.org:second", "karl@example.org:third"], source="b"
    )
    assert report.verdict_counts == {"with a new password": 1, "new": 1}
    assert batch is not None
    summary = undo_import.summarize_undo(batch)
    assert (summary.unused_count, summary.used_count, summary.changed_passwords) == (1, 0, 1)
    undo_import.start_undo(batch, by="", deletes_used=False)
    batch_work.work_at_batch(batch.pk)
    assert [row.email for row in UpstreamAccount.objects.all()] == ["june@example.org"]
    assert [row.masked for row in UpstreamToken.objects.all()] == ["ju…@example.org"]


def test_an_import_that_brings_nothing_leaves_no_batch(provider: Provider) -> None:
    import_batches.import_as_batch(provider, LINES[:2], source="a")
    report, batch = import_batches.import_as_batch(provider, LINES[:2], source="a")
    assert batch is None
    assert report.verdict_counts == {"known already": 2}
    assert ImportBatch.objects.count() == 1
