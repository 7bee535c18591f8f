"""Import accounts from the lines of a file as rows, each with the one token that it renews.

The token's row has no secret until the account signs in for the first time: before its first
request, or in a periodic renewal. A known account gets the password of the file; its other fields
stay.
"""

from django.db import transaction
from django.db.models import QuerySet

from providers import vault
from providers.models import Provider
from tokens.imports.line_parsing import Login
from tokens.models import Kind, UpstreamAccount, UpstreamToken
from tokens.querysets import DISABLED_BY_AUTH

NEW = "new"
KNOWN = "known already"
UPDATED = "with a new password"
FIELDS_SET_WITH_PASSWORD = ("sealed", "failures", "reason")


def fingerprint_email(email: str) -> str:
    """Return the fingerprint of the token that belongs to the account."""
    return vault.make_digest("account", email)


def mask_email(email: str) -> str:
    """Return the address in a form that only its owner recognizes: `ju…@example.org`."""
    name, _, host = email.partition("@")
    return f"{name[:2]}…@{host}"[:32]


@transaction.atomic
def import_account(provider: Provider, login: Login, *, dry_run: bool = False) -> str:
    """Create the account or give it its new password; return NEW, KNOWN or UPDATED."""
    row = UpstreamAccount.objects.filter(provider=provider, email=login.email).first()
    if row is None:
        if not dry_run:
            _create_account(provider, login)
        return NEW
    try:
        if vault.decrypt_secret(row.sealed, str(row.pk)) == login.password:
            return KNOWN
    except vault.VaultError:
        pass  # sealed with a key that is gone, so the password is stored again
    if not dry_run:
        replace_password(row, login.password)
        row.save(update_fields=FIELDS_SET_WITH_PASSWORD)
        enable_rejected_token(row)
    return UPDATED


def _create_account(provider: Provider, login: Login) -> None:
    """Create the account and its token; two imports at once create one account."""
    row = UpstreamAccount(provider=provider, email=login.email)
    row.seal_password(login.password)
    UpstreamAccount.objects.bulk_create([row], ignore_conflicts=True)
    create_missing_tokens(UpstreamAccount.objects.filter(provider=provider, email=login.email))


def replace_password(account: UpstreamAccount, password: str) -> None:
    """Give the row a new password and clear its refusals, without saving it."""
    account.seal_password(password)
    account.failures = 0
    account.reason = ""


def enable_rejected_token(account: UpstreamAccount) -> None:
    """Enable the account's token if auth failures disabled it."""
    UpstreamToken.objects.filter(DISABLED_BY_AUTH, account=account).reset_state()


def create_missing_tokens(accounts: QuerySet[UpstreamAccount]) -> None:
    """Create the token, without a secret yet, of each account that has none."""
    tokens = []
    for account in accounts.filter(token=None):
        token = UpstreamToken(
            provider_id=account.provider_id, account=account, kind=Kind.SESSION, sealed=""
        )
        token.fingerprint = fingerprint_email(account.email)
        token.masked = mask_email(account.email)
        tokens.append(token)
    UpstreamToken.objects.bulk_create(tokens, ignore_conflicts=True)
