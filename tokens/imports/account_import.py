"""Import accounts from a file as rows, each with the one token that it renews.

The token's row has no secret until the account signs in for the first time: before its first
request, or in a periodic renewal. A known account gets the password of the file; its other fields
stay.
"""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import QuerySet

from providers import vault
from providers.database.row_insert import insert_similar_rows
from providers.models import Provider
from tokens.imports.batch_model import ImportBatch
from tokens.imports.formats.source_lines import FoundCredential, Login, Origin
from tokens.imports.verdicts import KNOWN, NEW, UPDATED
from tokens.models import Kind, UpstreamAccount, UpstreamToken
from tokens.querysets import DISABLED_BY_AUTH

FIELDS_SET_WITH_PASSWORD = ("sealed", "failures", "reason")
# the fields in which new accounts of one import, and their tokens, differ
ACCOUNT_FIELDS = ("id", "email", "sealed", "created_at")
TOKEN_FIELDS = ("id", "account", "fingerprint", "masked", "label", "created_at")


def fingerprint_email(email: str) -> str:
    """Return the fingerprint of the token that belongs to the account."""
    return vault.make_digest("account", email)


def mask_email(email: str) -> str:
    """Return the address in a form that only its owner recognizes: `ju…@example.org`."""
    name, _, host = email.partition("@")
    return f"{name[:2]}…@{host}"[:32]


def import_accounts(
    provider: Provider, found: Sequence[FoundCredential], batch: ImportBatch | None, dry_run: bool
) -> dict[str, str]:
    """Create the accounts or give them their new passwords, in one transaction.

    Returns NEW, KNOWN or UPDATED by address. Each address is there once.
    """
    logins: dict[str, Login] = {}
    origins: dict[str, Origin] = {}
    for credential, origin in found:
        if isinstance(credential, Login):
            logins[credential.email] = credential
            origins[credential.email] = origin
    verdicts, changed_rows = judge_known_accounts(provider, logins, batch)
    new_logins = [login for email, login in logins.items() if email not in verdicts]
    verdicts |= dict.fromkeys((login.email for login in new_logins), NEW)
    if dry_run:
        return verdicts
    new_rows = [build_account(provider, login) for login in new_logins]
    with transaction.atomic():
        for row in changed_rows:
            row.save(update_fields=FIELDS_SET_WITH_PASSWORD)
            enable_rejected_token(row)
        insert_similar_rows(new_rows, ACCOUNT_FIELDS)
        emails = [row.email for row in new_rows]
        new_accounts = UpstreamAccount.objects.filter(provider=provider, email__in=emails)
        create_missing_tokens(new_accounts, batch, origins)
    return verdicts


def judge_known_accounts(
    provider: Provider, logins: dict[str, Login], batch: ImportBatch | None
) -> tuple[dict[str, str], list[UpstreamAccount]]:
    """Return the verdicts of the accounts that the provider has, and the rows to be saved.

    An account that this very batch made, before it was interrupted, is NEW.
    """
    verdicts: dict[str, str] = {}
    changed_rows = []
    rows = UpstreamAccount.objects.filter(provider=provider, email__in=list(logins))
    for row in rows.select_related("token"):
        verdicts[row.email] = KNOWN
        token = getattr(row, "token", None)
        if batch is not None and token is not None and token.import_batch_id == batch.pk:
            verdicts[row.email] = NEW
        elif not has_password(row, logins[row.email].password):
            replace_password(row, logins[row.email].password)
            changed_rows.append(row)
            verdicts[row.email] = UPDATED
    return verdicts, changed_rows


def has_password(row: UpstreamAccount, password: str) -> bool:
    """Return whether the account has this password; it has not when it cannot be opened."""
    try:
        return vault.decrypt_secret(row.sealed, str(row.pk)) == password
    except vault.VaultError:
        return False  # sealed with a key that is gone, so the password is stored again


def build_account(provider: Provider, login: Login) -> UpstreamAccount:
    """Return an unsaved row for the account."""
    row = UpstreamAccount(provider=provider, email=login.email)
    row.seal_password(login.password)
    return row


def replace_password(account: UpstreamAccount, password: str) -> None:
    """Give the row a new password and clear its refusals, without saving it."""
    account.seal_password(password)
    account.failures = 0
    account.reason = ""


def enable_rejected_token(account: UpstreamAccount) -> None:
    """Enable the account's token if auth failures disabled it."""
    UpstreamToken.objects.filter(DISABLED_BY_AUTH, account=account).reset_state()


def create_missing_tokens(
    accounts: QuerySet[UpstreamAccount],
    batch: ImportBatch | None = None,
    origins: dict[str, Origin] | None = None,
) -> None:
    """Create the token, without a secret yet, of each account that has none."""
    tokens = [build_account_token(account) for account in accounts.filter(token=None)]
    for token in tokens:
        token.import_batch = batch
        if origins and token.account is not None and token.account.email in origins:
            token.label = origins[token.account.email].label
    insert_similar_rows(tokens, TOKEN_FIELDS)


def build_account_token(account: UpstreamAccount) -> UpstreamToken:
    """Return an unsaved token without a secret, which the account gets when it signs in."""
    token = UpstreamToken(
        provider_id=account.provider_id, account=account, kind=Kind.SESSION, sealed=""
    )
    token.fingerprint = fingerprint_email(account.email)
    token.masked = mask_email(account.email)
    return token
