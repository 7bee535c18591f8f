"""New secrets on disk, from the moment an upstream gave them until the database has them.

A refresh token is void once it was used, so the secrets that it brought must survive a `kill -9`.
There is one file per renewal, `PROXYSITE_HOME/renewals/<token id>.<proof>`, mode 0600. It is sealed
and bound to the row and to the secrets that it replaces (their `proof`). A file that no longer fits
its row belongs to a finished renewal and is deleted. Each renewal of a token first applies the
files left for it. Every process applies all files at its start and each minute.
"""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import Case, F, Q, Value, When

from providers import vault
from providers.durable_files import write_durable_file
from providers.protocol.request import NewCredential
from tokens.models import State, UpstreamToken
from tokens.querysets import DISABLED_BY_AUTH

logger = logging.getLogger(__name__)

PROOF_DIGITS = 32
WRITE_TRIES = 5  # of a conditional update whose row others may change at the same time


class RenewedSecret(NamedTuple):
    """The secret that a token's row has now, sealed, and its expiry."""

    sealed: str
    expires_at: datetime | None


class OpenedSecrets(NamedTuple):
    """The secrets of a row, opened; empty where it has none."""

    access: str
    refresh: str

    @classmethod
    def open_row(cls, row: UpstreamToken) -> "OpenedSecrets":
        """Open the row's secrets. Raises VaultError."""
        owner = str(row.pk)
        return cls(_open_or_empty(row.sealed, owner), _open_or_empty(row.sealed_refresh, owner))

    @property
    def proof(self) -> str:
        """Return a digest that identifies this pair of secrets and reveals nothing about them."""
        return vault.make_digest("renewal", f"{self.access}\n{self.refresh}")[:PROOF_DIGITS]


def _open_or_empty(sealed: str, owner: str) -> str:
    return vault.decrypt_secret(sealed, owner) if sealed else ""


# --- files ----------------------------------------------------------------------------------------
def find_renewals_folder() -> Path:
    return settings.HOME.make_path("renewals", "x").parent


def name_file_owner(token_id: UUID, proof: str) -> str:
    return f"renewal {token_id} {proof}"


def find_secrets_path(token_id: UUID, proof: str) -> Path:
    return find_renewals_folder() / f"{token_id}.{proof}"


def write_secrets_file(token_id: UUID, proof: str, new: NewCredential) -> None:
    """Write the new secrets to a file; they are on disk when this returns. Raises OSError.

    Another process may apply and delete the complete draft before it has its name: then the row has
    the secrets.
    """
    sealed = vault.encrypt_secret(_write_json(new), name_file_owner(token_id, proof))
    path = find_secrets_path(token_id, proof)
    try:
        write_durable_file(path, [sealed.encode("ascii")])
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise


def delete_secrets_file(token_id: UUID, proof: str) -> None:
    find_secrets_path(token_id, proof).unlink(missing_ok=True)


def _write_json(new: NewCredential) -> str:
    expires_at = new.expires_at.isoformat() if new.expires_at else None
    return json.dumps([new.secret, new.refresh_token, expires_at])


def _parse_json(text: str) -> NewCredential:
    secret, refresh_token, expires_at = json.loads(text)
    if expires_at is not None:
        expires_at = datetime.fromisoformat(expires_at)
    return NewCredential(secret, refresh_token, expires_at)


def find_secrets_files(token_id: UUID | None = None) -> list[Path]:
    """Return the files that were left for one token or for all, and their drafts."""
    folder = find_renewals_folder()
    owner = str(token_id or "*")
    return sorted({*folder.glob(f"{owner}.*"), *folder.glob(f".{owner}.*")})


def apply_secrets_files(token_id: UUID | None = None) -> int:
    """Write the secrets left on disk, for one token or for all, into their rows.

    Returns how many files were applied, and deletes them. Raises DatabaseError.
    """
    applied_count = 0
    for path in find_secrets_files(token_id):
        owner, proof = path.name.lstrip(".").split(".")[:2]
        applied_count += _apply_secrets_file(path, UUID(owner), proof)
    return applied_count


def _apply_secrets_file(path: Path, token_id: UUID, proof: str) -> bool:
    """Apply one file if it fits its row, delete it, and return whether it was applied.

    The row is read after the file was seen: if the row has other secrets, they are newer. A
    complete draft counts like a file: its writer was killed, or will find its work done.
    """
    row = UpstreamToken.objects.filter(pk=token_id).first()
    contents = ""
    try:
        if row is not None and OpenedSecrets.open_row(row).proof == proof:
            sealed = path.read_text(encoding="ascii")
            contents = vault.decrypt_secret(sealed, name_file_owner(token_id, proof))
    except FileNotFoundError:
        return False  # another process was faster
    except vault.VaultError as error:
        if not path.name.startswith("."):
            logger.warning("a renewed token waits in %s: %s", path.name, error)
        return False
    if contents:
        write_renewed_secrets(token_id, proof, _parse_json(contents))
    path.unlink(missing_ok=True)
    return bool(contents)


# --- the row --------------------------------------------------------------------------------------
def write_renewed_secrets(token_id: UUID, proof: str, new: NewCredential) -> RenewedSecret | None:
    """Replace the secrets of `proof` in the row, unless it has others by now.

    Returns the row's secret after that, or None when there is no such row. Also releases the lease
    and clears strikes and auth failures. Raises DatabaseError, VaultError.
    """
    for _ in range(WRITE_TRIES):
        row = UpstreamToken.objects.filter(pk=token_id).first()
        if row is None:
            return None
        if OpenedSecrets.open_row(row).proof != proof:
            return RenewedSecret(row.sealed, row.expires_at)
        renewed = _replace_secrets(row, new)
        if renewed is not None:
            return renewed
    raise vault.VaultError("changes all the time")


def _replace_secrets(row: UpstreamToken, new: NewCredential) -> RenewedSecret | None:
    """Write the new secrets into the row; return None if it was changed since it was read.

    That happens when its secrets are sealed again with another key.
    """
    owner = str(row.pk)
    sealed = vault.encrypt_secret(new.secret, owner)
    sealed_refresh = ""
    if new.refresh_token:
        sealed_refresh = vault.encrypt_secret(new.refresh_token, owner)
    expires_at = new.expires_at
    if expires_at is not None and expires_at <= datetime.now(UTC):
        expires_at = None
    unchanged = UpstreamToken.objects.filter(
        pk=row.pk, sealed=row.sealed, sealed_refresh=row.sealed_refresh
    )
    is_written = unchanged.release_lease(
        "renewing_until",
        sealed=sealed,
        sealed_refresh=sealed_refresh,
        expires_at=expires_at,
        state=Case(When(DISABLED_BY_AUTH, then=Value(State.ACTIVE)), default=F("state")),
        reason=Case(
            When(Q(state=State.ACTIVE) | DISABLED_BY_AUTH, then=Value("")), default=F("reason")
        ),
        strikes=0,
        cause="",
    )
    return RenewedSecret(sealed, expires_at) if is_written else None
