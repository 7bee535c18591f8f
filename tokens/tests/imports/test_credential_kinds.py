"""What an imported line is, and which row it becomes."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime

import pytest

from providers import registry, vault
from providers.models import Provider
from providers.tests.command_runner import run
from tokens.imports import token_import
from tokens.imports.credential_kinds import recognize_credential
from tokens.imports.line_parsing import Login, parse_login
from tokens.models import Kind, UpstreamAccount, UpstreamToken
from tokens.renewal.unsaved_secrets import OpenedSecrets
from tokens.tests.site import Renewing

ENDS = datetime(2030, 1, 1, tzinfo=UTC)
PLAIN = registry.get_adapter_class("openai_compatible")
ACCOUNTS = [
    "june@example.org:a:pass word",
    "May@Example.org----s3cret",
    "june@example.org:a:pass word",
]


def jwt(**claims):
    parts = (
        urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256"}, claims)
    )
    return ".".join([*parts, "c2lnbmF0dXJl"])


KIMI_ACCESS = jwt(app_id="kimi", typ="access", exp=ENDS.timestamp())
KIMI_REFRESH = jwt(app_id="kimi", typ="refresh", exp=ENDS.timestamp())
SESSION = jwt(id="5f0c", exp=ENDS.timestamp())


@pytest.mark.parametrize(
    ("token", "adapter", "expected"),
    [
        ("sk-made-up-0123456789", Renewing, (Kind.KEY, None)),
        ("a.b.c", Renewing, (Kind.KEY, None)),
        (KIMI_ACCESS, Renewing, (Kind.ACCESS, ENDS)),
        (KIMI_ACCESS, PLAIN, (Kind.ACCESS, ENDS)),
        (KIMI_REFRESH, Renewing, (Kind.REFRESH, None)),
        (KIMI_REFRESH, PLAIN, (Kind.KEY, ENDS)),
        (SESSION, PLAIN, (Kind.SESSION, ENDS)),
        (jwt(id="5f0c"), PLAIN, (Kind.SESSION, None)),
        (jwt(id="5f0c", exp="soon"), PLAIN, (Kind.SESSION, None)),
    ],
)
def test_a_token_says_what_it_is_and_when_it_ends(token, adapter, expected):
    assert recognize_credential(token, adapter) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("june@example.org:secret", Login("june@example.org", "secret")),
        ("June@Example.org----sec:ret--", Login("june@example.org", "sec:ret--")),
        ("june@mail-1.example.org:a b", Login("june@mail-1.example.org", "a b")),
        ("june@example.org", None),
        ("june@example.org:", None),
        ("sk-made-up:0123", None),
        ("june@localhost:secret", None),
    ],
)
def test_an_account_is_an_address_and_a_password(line, expected):
    assert parse_login(line) == expected
    if expected:
        assert expected.password not in repr(expected)


@pytest.fixture
def renewing(monkeypatch, db):
    """A provider with refresh tokens and accounts."""
    monkeypatch.setattr(registry, "get_adapter_class", lambda kind: Renewing)
    return Provider.objects.create(
        name="acme", kind="openai_compatible", base_url="https://acme.example/v1"
    )


def verdicts(report):
    return [verdict.verdict for verdict in report.verdicts]


def test_a_refresh_token_becomes_a_row_without_access_and_is_known_after_its_renewal(renewing):
    assert verdicts(token_import.import_lines(renewing, [KIMI_REFRESH, KIMI_ACCESS])) == [
        "new",
        "new",
    ]
    refresh, access = (
        UpstreamToken.objects.get(kind="refresh"),
        UpstreamToken.objects.get(kind="access"),
    )
    assert (OpenedSecrets.open_row(refresh), refresh.expires_at, refresh.is_renewable) == (
        ("", KIMI_REFRESH),
        None,
        True,
    )
    assert (OpenedSecrets.open_row(access), access.expires_at, access.is_renewable) == (
        (KIMI_ACCESS, ""),
        ENDS,
        False,
    )
    UpstreamToken.objects.filter(pk=refresh.pk).update(
        sealed_refresh=vault.encrypt_secret("another", str(refresh.pk))
    )
    assert verdicts(token_import.import_lines(renewing, [KIMI_REFRESH])) == ["known already"]


def test_accounts_become_rows_with_a_token_each_and_nothing_shows_them(renewing, tmp_path):
    (tmp_path / "accounts.txt").write_text("\n".join(ACCOUNTS))
    said = run("import_tokens", "acme", str(tmp_path / "accounts.txt"), "--format", "json")
    assert json.loads(said)["counts"] == {"new": 2, "twice in the file": 1}
    assert not [secret for secret in ("a:pass word", "s3cret", "june@") if secret in said]
    assert json.loads(said)["lines"][0]["token"] == "ju…@example.org"
    accounts = UpstreamAccount.objects.order_by("email")
    assert [(row.email, vault.decrypt_secret(row.sealed, str(row.pk))) for row in accounts] == [
        ("june@example.org", "a:pass word"),
        ("may@example.org", "s3cret"),
    ]
    assert [(row.token.sealed, row.token.kind, row.token.is_renewable) for row in accounts] == [
        ("", "session", True)
    ] * 2
    assert verdicts(token_import.import_lines(renewing, ACCOUNTS)) == [
        "known already",
        "known already",
        "twice in the file",
    ]


def test_a_new_password_is_taken_and_lets_the_account_try_again(renewing, tmp_path):
    token_import.import_lines(renewing, ACCOUNTS[:1])
    UpstreamAccount.objects.update(failures=3, reason="auth: refused")
    UpstreamToken.objects.all().mark_disabled("auth: refused")
    assert verdicts(
        token_import.import_lines(renewing, ["june@example.org:new"], dry_run=True)
    ) == ["with a new password"]
    assert UpstreamAccount.objects.get().failures == 3
    (tmp_path / "accounts.txt").write_text("june@example.org:new")
    assert "1 with a new password" in run("import_tokens", "acme", str(tmp_path / "accounts.txt"))
    row = UpstreamAccount.objects.get()
    assert (vault.decrypt_secret(row.sealed, str(row.pk)), row.failures, row.token.state) == (
        "new",
        0,
        "active",
    )


def test_a_dry_run_makes_no_account(renewing):
    assert verdicts(token_import.import_lines(renewing, ACCOUNTS, dry_run=True)) == [
        "new",
        "new",
        "twice in the file",
    ]
    assert not UpstreamAccount.objects.exists()
    assert not UpstreamToken.objects.exists()


def test_accounts_are_no_tokens_of_an_upstream_that_nobody_signs_in_to(db):
    plain = Provider.objects.create(
        name="acme", kind="openai_compatible", base_url="https://acme.example/v1"
    )
    (verdict,) = token_import.import_lines(plain, ACCOUNTS[:1]).verdicts
    assert (verdict.verdict, verdict.token) == ("malformed", "ju…@example.org")
    assert not UpstreamToken.objects.exists()
