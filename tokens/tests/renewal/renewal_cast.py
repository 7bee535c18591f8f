"""Rows of tokens that are renewed, and the calls that their upstream got."""

from datetime import UTC, datetime, timedelta

from providers import vault
from providers.database.database_threads import run_in_thread
from tokens.imports.account_import import import_accounts
from tokens.imports.formats.source_lines import FoundCredential, Login
from tokens.models import UpstreamToken
from tokens.renewal.unsaved_secrets import OpenedSecrets

SOON = timedelta(minutes=5)
PAST = datetime(2020, 1, 1, tzinfo=UTC)


def refresh_row(provider, secret="refresh-0", access="", **fields):
    """A row with a refresh token, and an access token where one is given."""
    row = UpstreamToken.from_secret(provider, secret, kind="refresh", **fields)
    row.sealed, row.sealed_refresh = (
        (vault.encrypt_secret(access, str(row.pk)) if access else ""),
        row.sealed,
    )
    row.save()
    return row


def add_account(provider):
    """Add an account with its token; it has not signed in yet."""
    login = Login("june@example.org", "a password")
    import_accounts(provider, [FoundCredential(login)], None, False)


def secrets(row):
    return OpenedSecrets.open_row(UpstreamToken.objects.get(pk=row.pk))


async def change(gateway, row, **fields):
    await run_in_thread(UpstreamToken.objects.filter(pk=row.pk).update, **fields)
    await gateway.reload_rows()


def asked(upstream):
    """Whom the upstream was asked for answers by."""
    return [
        request.bearer_token
        for request in upstream.requests
        if request.path.endswith("completions")
    ]
