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
        opened = (
            vault.decrypt_secret(sealed, str(row.pk)) if sealed else ""
            for sealed in (row.sealed, row.sealed_refresh)
        )
        return cls(*opened)

    @property
    def proof(self) -> str:
        """Return a digest that identifies this pair of secrets and reveals nothing about them."""
        return vault.make_digest("renewal", f"{self.access}\n{self.refresh}")[:PROOF_DIGITS]


def find_renewals_folder() -> Path:
    return settings.HOME.make_path("renewals", "x").parent


def name_file_owner(token_id: UUID, proof: str) -> str:
    return f"renewal {token_id} {proof}"


def write_secrets_file(token_id: UUID, proof: str, fresh: NewCredential) -> None:
    """Write the new secrets to a file; they are on disk when this returns. Raises OSError."""
    ends = fresh.expires_at.isoformat() if fresh.expires_at else None
    sealed = vault.encrypt_secret(
        json.dumps([fresh.secret, fresh.refresh_token, ends]), name_file_owner(token_id, proof)
    )
    write_durable_file(find_renewals_folder() / f"{token_id}.{proof}", [sealed.encode("ascii")])


def delete_secrets_file(token_id: UUID, proof: str) -> None:
    (find_renewals_folder() / f"{token_id}.{proof}").unlink(missing_ok=True)


def find_secrets_files(token_id: UUID | None = None) -> list[Path]:
    """Return the files that were left for one token or for all."""
    pattern = str(token_id) if token_id else "*"
    return sorted(
        {
            *find_renewals_folder().glob(f"{pattern}.*"),
            *find_renewals_folder().glob(f".{pattern}.*"),
        }
    )


def apply_secrets_files(token_id: UUID | None = None) -> int:
    """Write the secrets left on disk, for one token or for all, into their rows.

    Returns how many files were applied, and deletes them. Raises DatabaseError.
    """
    renewed = 0
    for path in find_secrets_files(token_id):
        owner, proof = path.name.lstrip(".").split(".")[:2]
        renewed += _apply_secrets_file(path, UUID(owner), proof)
    return renewed


def _apply_secrets_file(path: Path, token_id: UUID, proof: str) -> bool:
    """Apply one file if it fits its row, delete it, and return whether it was applied.

    The row is read after the file was seen: if the row has other secrets, they are newer. A
    complete draft counts like a file: its writer was killed, or will find its work done.
    """
    row = UpstreamToken.objects.filter(pk=token_id).first()
    try:
        fits = row is not None and OpenedSecrets.open_row(row).proof == proof
        said = (
            vault.decrypt_secret(path.read_text(encoding="ascii"), name_file_owner(token_id, proof))
            if fits
            else ""
        )
    except FileNotFoundError:
        return False  # another process was faster
    except vault.VaultError as error:
        if not path.name.startswith("."):
            logger.warning("a renewed token waits in %s: %s", path.name, error)
        return False
    if said:
        secret, refresh, ends = json.loads(said)
        write_renewed_secrets(
            token_id,
            proof,
            NewCredential(secret, refresh, datetime.fromisoformat(ends) if ends else None),
        )
    path.unlink(missing_ok=True)
    return bool(said)


def write_renewed_secrets(token_id: UUID, proof: str, fresh: NewCredential) -> RenewedSecret | None:
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
        sealed = vault.encrypt_secret(fresh.secret, str(token_id))
        refresh = (
            vault.encrypt_secret(fresh.refresh_token, str(token_id)) if fresh.refresh_token else ""
        )
        ends = (
            fresh.expires_at if fresh.expires_at and fresh.expires_at > datetime.now(UTC) else None
        )
        # the condition fails if the secrets were sealed again with another key meanwhile
        same = UpstreamToken.objects.filter(
            pk=token_id, sealed=row.sealed, sealed_refresh=row.sealed_refresh
        )
        if same.release_lease(
            "renewing_until",
            sealed=sealed,
            sealed_refresh=refresh,
            expires_at=ends,
            state=Case(When(DISABLED_BY_AUTH, then=Value(State.ACTIVE)), default=F("state")),
            reason=Case(
                When(Q(state=State.ACTIVE) | DISABLED_BY_AUTH, then=Value("")), default=F("reason")
            ),
            strikes=0,
            cause="",
        ):
            return RenewedSecret(sealed, ends)
    raise vault.VaultError("changes all the time")
