"""Files of renewed secrets, and the process that applies them at the same moment."""

import os
from pathlib import Path
from uuid import uuid4

import pytest

from providers import durable_files
from providers.protocol.request import NewCredential
from tokens.renewal import unsaved_secrets


def test_a_draft_that_another_process_applied_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace = os.replace

    def replace_too_late(draft: str, path: Path) -> None:
        Path(draft).unlink()  # as apply_secrets_files does after it has written the row
        replace(draft, path)

    monkeypatch.setattr(durable_files.os, "replace", replace_too_late)
    token_id = uuid4()
    unsaved_secrets.write_secrets_file(token_id, "proof", NewCredential("new", "refresh"))
    assert unsaved_secrets.find_secrets_files(token_id) == []


def test_a_folder_that_is_missing_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setattr(unsaved_secrets, "find_renewals_folder", lambda: missing)
    with pytest.raises(FileNotFoundError):
        unsaved_secrets.write_secrets_file(uuid4(), "proof", NewCredential("new", "refresh"))
