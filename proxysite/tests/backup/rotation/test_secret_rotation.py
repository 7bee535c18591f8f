"""Every secret is sealed anew, in slices that may be interrupted; no column is forgotten."""

import re

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db.models import CharField, JSONField, TextField

from providers import vault
from providers.models import McpServer, Provider
from proxysite.backup.rotation import sealed_columns, secret_rotation
from proxysite.backup.rotation.sealed_columns import SEALED_COLUMNS, list_columns
from proxysite.backup.rotation.secret_rotation import RotationReport
from proxysite.home import generate_field_key
from tokens import secret_check
from tokens.imports.batch_model import ImportBatch, ImportText
from tokens.models import UpstreamAccount, UpstreamToken

# who seals: whoever comes anew belongs into SEALED_COLUMNS, unless it is no column
SEALING_MODULES = {
    "providers/models/mcp_server.py",
    "providers/models/provider.py",
    "proxysite/access/sign_in/adapters.py",
    "proxysite/backup/rotation/secret_rotation.py",
    "tokens/imports/account_import.py",
    "tokens/imports/batch_model.py",
    "tokens/models.py",
    "tokens/renewal/unsaved_secrets.py",
    "tokens/secret_check.py",
}
SECRETS = [
    *("token-a", "token-b", "token-c", "refresh", "password", "text", "proxy-password"),
    '{"x-key":"mcp-secret"}',
]


@pytest.fixture
def sealed_rows(transactional_db, provider):
    """Rows with a secret in each column that is always there."""
    secret_check.require_secrets()
    provider.proxy_url = "http://june:proxy-password@proxy.example:8080"
    provider.save()
    UpstreamToken.objects.all().delete()
    for secret in ("token-a", "token-b", "token-c"):
        UpstreamToken.from_secret(provider, secret).save()
    renewable = UpstreamToken.from_secret(provider, "refresh")
    renewable.turn_into_refresh_token()
    renewable.save()
    account = UpstreamAccount(provider=provider, email="june@example.org")
    account.seal_password("password")
    account.save()
    server = McpServer(label="wiki", url="https://wiki.example/mcp")
    server.save()
    server.seal_headers({"x-key": "mcp-secret"})
    server.save()
    piece = ImportText(batch=ImportBatch.objects.create(provider=provider), number=0)
    piece.seal_text("text")
    piece.save()


@pytest.fixture
def new_key(settings):
    """A newer key in front of the present one."""
    key = generate_field_key()
    settings.FIELD_KEYS = [key, *settings.FIELD_KEYS]
    return key


def read_all():
    return sorted(
        value.open_text()
        for column in list_columns()
        for value in sealed_columns.read_sealed_values(column)
    )


def count_older():
    counts = secret_rotation.count_all_keys().values()
    newest = sealed_columns.find_newest_key_id()
    return sum(sum(column.values()) - column[newest] for column in counts)


def rotate():
    return secret_rotation.rotate_secrets(2, lambda text: None)


def test_each_value_opens_with_the_new_key_alone_afterwards(sealed_rows, new_key, settings):
    expected = sorted([*SECRETS, secret_check.CHECKED_TEXT])
    assert read_all() == expected
    assert count_older() == len(expected)
    assert rotate().sealed_count == len(expected)
    assert count_older() == 0
    settings.FIELD_KEYS = [new_key]
    assert read_all() == expected
    assert Provider.objects.get(sealed_proxy_password__gt="").find_proxy() is not None
    assert rotate().sealed_count == 0


def test_what_was_interrupted_goes_on(sealed_rows, new_key):
    column = SEALED_COLUMNS[0]
    before = count_older()
    for _ in secret_rotation.rotate_column(column, 1, RotationReport()):
        break
    assert count_older() == before - 1
    assert rotate().sealed_count == before - 1
    assert count_older() == 0


def test_a_secret_that_is_renewed_meanwhile_stays(sealed_rows, new_key):
    column = SEALED_COLUMNS[0]
    row = UpstreamToken.objects.exclude(sealed="").first()
    (value,) = sealed_columns.list_values(column, row)
    renewed = vault.encrypt_secret("renewed", str(row.pk))
    UpstreamToken.objects.filter(pk=row.pk).update(sealed=renewed)
    assert secret_rotation.write_value(value, "token-a") == 0
    row.refresh_from_db()
    assert row.sealed == renewed


def test_the_command_counts_rotates_and_says_when_the_old_key_may_go(
    sealed_rows, new_key, capsys, settings
):
    old_id = settings.FIELD_KEYS[1].split(":")[0]
    new_id = new_key.split(":")[0]
    call_command("rotate_secrets", "--dry-run")
    said = capsys.readouterr().out
    assert re.search(rf"tokens.UpstreamToken.sealed +{old_id} +3 +needs the older key", said)
    assert "9 of 9 values" in said
    assert count_older() == 9
    call_command("rotate_secrets", "--slice-rows", "1")
    said = capsys.readouterr().out
    assert "0 of 9 values" in said
    assert f"Nothing needs {old_id} any more" in said
    settings.FIELD_KEYS = [new_key]
    call_command("rotate_secrets")
    assert f"than {new_id}" in capsys.readouterr().out


def test_values_that_no_key_opens_are_named_and_kept(sealed_rows, new_key, capsys):
    row = UpstreamToken.objects.exclude(sealed="").first()
    UpstreamToken.objects.filter(pk=row.pk).update(sealed="v1.kgone.AAAA")
    with pytest.raises(CommandError, match=f"1 values .*UpstreamToken.sealed of {row.pk}"):
        call_command("rotate_secrets")
    assert re.search(r"kgone|\?", capsys.readouterr().out)
    row.refresh_from_db()
    assert row.sealed == "v1.kgone.AAAA"


def test_a_process_with_other_secrets_is_refused(sealed_rows, settings):
    settings.FIELD_KEYS = [generate_field_key()]
    for options in ((), ("--dry-run",)):
        with pytest.raises(CommandError, match="another FIELD_KEYS"):
            call_command("rotate_secrets", *options)


# --- no column is forgotten ---------------------------------------------------------------------
def test_each_column_named_sealed_is_registered():
    registered = {column.name for column in SEALED_COLUMNS}
    named = {
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models()
        for field in model._meta.local_fields
        if field.name.startswith("sealed")
    }
    assert named
    assert named <= registered


def test_no_other_column_has_a_sealed_value(sealed_rows):
    registered = {(column.model_name, column.field) for column in SEALED_COLUMNS}
    found = {
        (model._meta.label, field.name)
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, CharField | TextField | JSONField)
        for value in model._base_manager.values_list(field.name, flat=True)
        if re.search(r"\bv1\.k\w+\.", str(value))
    }
    assert len(found) >= 6
    assert found <= registered


def test_no_other_module_seals():
    root = django_settings.BASE_DIR
    sealing = {
        str(path.relative_to(root))
        for app in ("providers", "tokens", "conversations", "api", "proxysite")
        for path in (root / app).rglob("*.py")
        if "tests" not in path.parts
        and re.search(r"\b(encrypt_secret|seal_text|seal_password)\(", path.read_text("utf-8"))
    } - {"providers/vault.py", "tokens/imports/import_text.py"}
    assert sealing == SEALING_MODULES
