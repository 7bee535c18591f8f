"""The commands `import_tokens --undo` and `export_tokens`."""

import io
import json
import re
from pathlib import Path

import pytest

from providers.models import Provider
from providers.tests.command_runner import refused, run
from tokens.imports.batch_model import ImportBatch
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db
FIRST, SECOND = "sk-first-0123456789abcdef", "sk-second-0123456789abcdef"
PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(
        name="acme", kind="openai_compatible", base_url="https://api.example.com/v1"
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text(f"{FIRST}\n{SECOND}\n")
    return path


# --- undo -----------------------------------------------------------------------------------------
def test_an_import_says_how_to_undo_it(provider: Provider, file: Path) -> None:
    notes = io.StringIO()
    said = run("import_tokens", "acme", str(file), notes=notes)
    assert said == "2 imported, 0 known already, 0 twice in the file, 0 malformed.\n"
    batch = ImportBatch.objects.get()
    assert f"import_tokens --undo {batch.pk}" in notes.getvalue()
    assert (batch.source, batch.state, batch.created_by) == ("keys.txt", "imported", "")
    UpstreamToken.from_secret(provider, "sk-other-0123456789abcdef", requests=1).save()
    undo = ("import_tokens", "--undo", str(batch.pk))
    assert run(*undo, "--dry-run") == "2 tokens would be deleted.\n"
    UpstreamToken.objects.filter(import_batch=batch, masked__startswith="sk-fir").update(requests=1)
    assert run(*undo) == "1 tokens deleted, 1 kept that were used (--used).\n"
    assert run(*undo, "--used") == "2 tokens deleted.\n"
    assert [row.masked for row in UpstreamToken.objects.all()] == ["sk-oth…cdef"]


def test_json_has_the_batch(provider: Provider, file: Path) -> None:
    content = json.loads(run("import_tokens", "acme", str(file), "--format", "json"))
    assert content["batch"] == str(ImportBatch.objects.get().pk)


def test_wrong_arguments_say_what_is_wrong(provider: Provider, file: Path) -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    assert refused("import_tokens", "--undo", nobody) == f"There is no import '{nobody}'."
    assert refused("import_tokens", "--undo", "x") == "There is no import 'x'."
    assert refused("import_tokens", "acme").endswith("are required: provider, file.")
    assert refused("import_tokens", "acme", str(file), "--used") == "--used goes with --undo."
    run("import_tokens", "acme", str(file))
    batch = ImportBatch.objects.get()
    wrong = refused("import_tokens", "other", "--undo", str(batch.pk))
    assert wrong == "That import is of acme, not other."


def test_a_file_that_is_too_large_is_refused(
    provider: Provider, file: Path, settings: pytest.MonkeyPatch
) -> None:
    settings.IMPORT_BYTES = 2**20  # type: ignore[attr-defined]
    file.write_text("x" * (2**20 + 1))
    assert refused("import_tokens", "acme", str(file)).startswith("The file is larger than 1 MiB")


def test_lines_of_other_providers_are_named(provider: Provider, tmp_path: Path) -> None:
    channels = [{"key": FIRST, "base_url": "https://june:pw@other.example/v1", "type": 8}]
    (tmp_path / "channels.json").write_text(json.dumps(channels))
    said = run("import_tokens", "acme", str(tmp_path / "channels.json"))
    assert said.splitlines() == [
        "line 1: of another provider: other.example (sk-fir…cdef)",
        "0 imported, 0 known already, 0 twice in the file, 0 malformed, 1 of another provider.",
    ]
    assert not ImportBatch.objects.exists()


# --- export ---------------------------------------------------------------------------------------
def test_tokens_are_exported_and_imported_again(provider: Provider, file: Path) -> None:
    run("import_tokens", "acme", str(file))
    for options in ((), ("--format", "json"), ("--format", "csv")):
        text = run("export_tokens", "acme", *options)
        assert FIRST in text
        UpstreamToken.objects.all().delete()
        file.write_text(text)
        assert run("import_tokens", "acme", str(file)).startswith("2 imported")
    assert run("export_tokens", "--all").splitlines() == sorted(
        [FIRST, SECOND], key=run("export_tokens", "acme").index
    )


def test_an_encrypted_export_needs_its_passphrase(
    provider: Provider, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("import_tokens", "acme", str(file))
    target = tmp_path / "tokens.bundle.txt"
    export = ("export_tokens", "acme", "--encrypt", "--output", str(target))
    assert refused(*export) == "--encrypt needs a passphrase: set EXPORT_PASSPHRASE."
    monkeypatch.setenv("EXPORT_PASSPHRASE", "short")
    assert refused(*export) == "The passphrase needs at least 12 characters."
    monkeypatch.setenv("EXPORT_PASSPHRASE", PASSPHRASE)
    run(*export)
    assert target.stat().st_mode & 0o777 == 0o600
    assert not re.search("sk-|acme", target.read_text())
    assert "File exists" in refused(*export)
    UpstreamToken.objects.all().delete()
    assert run("import_tokens", "acme", str(target)).startswith("2 imported")
    monkeypatch.setenv("EXPORT_PASSPHRASE", "another passphrase")
    assert refused("import_tokens", "acme", str(target)).startswith("The passphrase is wrong")
    monkeypatch.delenv("EXPORT_PASSPHRASE")
    wanted = refused("import_tokens", "acme", str(target))
    assert wanted == "The file is an encrypted export: set EXPORT_PASSPHRASE."


def test_an_export_can_be_of_one_state(provider: Provider, file: Path) -> None:
    run("import_tokens", "acme", str(file))
    UpstreamToken.objects.filter(masked__startswith="sk-fir").mark_disabled("by june")
    assert run("export_tokens", "acme", "--state", "disabled") == f"{FIRST}\n"
    assert refused("export_tokens") == "Name a provider, or use --all."
    assert refused("export_tokens", "acme", "--all") == "Name a provider, or use --all."
