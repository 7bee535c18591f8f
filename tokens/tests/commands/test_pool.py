"""The commands that change the pool without asking an upstream: import_tokens, reset_tokens."""

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from providers import vault
from providers.models import Provider
from providers.tests.command_runner import refused, run
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db

FIRST, SECOND = "sk-first-0123456789abcdef", "sk-second-0123456789abcdef"


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(
        name="acme", kind="openai_compatible", base_url="https://api.example.com/v1"
    )


def secrets() -> set[str]:
    return {
        vault.decrypt_secret(token.sealed, str(token.pk)) for token in UpstreamToken.objects.all()
    }


# --- import_tokens --------------------------------------------------------------------------------
def test_a_file_is_imported_once_however_often_it_is_given(
    provider: Provider, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.txt"
    file.write_bytes(
        f"\ufeff# mine\r\n{FIRST}\r\n\r\n  {SECOND}\t\r\n{FIRST}\r\nhas space\r\n".encode()
    )
    said = run("import_tokens", "acme", str(file))
    assert said.splitlines() == [
        "line 6: has a space inside",
        "2 imported, 0 known already, 1 twice in the file, 1 malformed, 2 blank or comment.",
    ]
    assert secrets() == {FIRST, SECOND}
    again = json.loads(run("import_tokens", "acme", str(file), "--format", "json"))
    assert again["counts"] == {"known already": 2, "twice in the file": 1, "malformed": 1}
    assert [line["line"] for line in again["lines"]] == [2, 4, 5, 6]
    assert UpstreamToken.objects.count() == 2
    for secret in (FIRST, SECOND):
        assert secret not in said
        assert secret not in json.dumps(again)


def test_tokens_come_from_standard_input(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{FIRST}\n".encode())))
    assert (
        run("import_tokens", "acme", "-")
        == "1 imported, 0 known already, 0 twice in the file, 0 malformed.\n"
    )
    assert secrets() == {FIRST}


def test_importing_dry_writes_nothing(provider: Provider, tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    file.write_text(FIRST)
    assert run("import_tokens", "acme", str(file), "--dry-run").startswith("1 would be imported")
    assert not UpstreamToken.objects.exists()


def test_import_says_what_is_wrong(provider: Provider, tmp_path: Path) -> None:
    assert (
        refused("import_tokens", "nobody", "-") == "There is no provider 'nobody'; there are: acme."
    )
    assert refused("import_tokens", "acme", str(tmp_path / "none")).endswith(
        "No such file or directory."
    )
    file = tmp_path / "picture"
    file.write_bytes(b"\x89PNG\xff\xfe\x00")
    assert "is no text but a picture" in refused("import_tokens", "acme", str(file))
    assert not UpstreamToken.objects.exists()


# --- reset_tokens ---------------------------------------------------------------------------------
@pytest.fixture
def troubled(provider: Provider) -> Provider:
    """A provider with a token in each state, and another one with a disabled one."""
    other = Provider.objects.create(
        name="other", kind="openai_compatible", base_url="https://other.example/v1"
    )
    later = timezone.now() + timedelta(hours=1)
    fields: list[dict[str, Any]] = [
        {},
        {"strikes": 1},
        {"rests_until": later, "reason": "rate limit: slow down"},
        {"state": "exhausted", "rests_until": later},
        {"state": "disabled", "reason": "auth: no", "strikes": 3},
        {"state": "disabled", "reason": "by admin"},
    ]
    for number, values in enumerate(fields):
        UpstreamToken.from_secret(provider, f"{FIRST}-{number}", **values).save()
    UpstreamToken.from_secret(other, SECOND, state="disabled").save()
    return provider


def test_one_providers_tokens_are_reset(troubled: Provider) -> None:
    assert run("reset_tokens", "acme") == "5 tokens reset.\n"
    for token in UpstreamToken.objects.filter(provider=troubled):
        assert (token.state, token.strikes, token.rests_until, token.reason) == (
            "active",
            0,
            None,
            "",
        )
    assert UpstreamToken.objects.get(provider__name="other").state == "disabled"


def test_all_tokens_are_reset_and_then_nothing_is_left_to_do(troubled: Provider) -> None:
    assert run("reset_tokens", "--dry-run") == "6 tokens would be reset.\n"
    assert UpstreamToken.objects.filter(state="disabled").count() == 3
    assert run("reset_tokens") == "6 tokens reset.\n"
    assert run("reset_tokens") == "0 tokens reset.\n"


def test_reset_knows_the_providers(troubled: Provider) -> None:
    assert (
        refused("reset_tokens", "nobody")
        == "There is no provider 'nobody'; there are: acme, other."
    )
