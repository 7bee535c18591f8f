"""A draft that another process applies before it has its name is no fault."""

from uuid import uuid4

import pytest

from providers import durable_files
from providers.protocol.request import NewCredential
from tokens.renewal import unsaved_secrets

NEW = NewCredential("access", "refresh", None)


@pytest.fixture
def replace_finds(monkeypatch):
    """Set which step another process takes just before the draft gets its name."""

    def install(step):
        rename = durable_files.os.replace

        def replace(draft, path):
            step(draft)
            rename(draft, path)

        monkeypatch.setattr(durable_files.os, "replace", replace)

    return install


def test_a_draft_that_was_applied_already_is_no_error(replace_finds):
    replace_finds(lambda draft: durable_files.os.unlink(draft))
    token_id = uuid4()
    unsaved_secrets.write_secrets_file(token_id, "proof", NEW)
    assert unsaved_secrets.find_secrets_files(token_id) == []


def test_a_folder_that_is_gone_is_an_error(replace_finds, monkeypatch, tmp_path):
    folder = tmp_path / "renewals"
    folder.mkdir()
    monkeypatch.setattr(unsaved_secrets, "find_renewals_folder", lambda: folder)

    def remove(draft):
        durable_files.os.unlink(draft)
        folder.rmdir()

    replace_finds(remove)
    with pytest.raises(FileNotFoundError):
        unsaved_secrets.write_secrets_file(uuid4(), "proof", NEW)
