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
from providers.protocol.request import Fresh
from tokens.models import State, UpstreamToken
from tokens.querysets import BY_AUTH

logger = logging.getLogger(__name__)

PROOF_DIGITS = 32
TRIES = 5  # of a conditional update whose row others may change at the same time


class Renewed(NamedTuple):
    """The secret that a token's row has now, sealed, and its expiry."""

    sealed: str
    expires_at: datetime | None


class Secrets(NamedTuple):
    """The secrets of a row, opened; empty where it has none."""

    access: str
    refresh: str

    @classmethod
    def of(cls, row: UpstreamToken) -> "Secrets":
        """Open the row's secrets. Raises VaultError."""
        opened = (
            vault.unseal(sealed, str(row.pk)) if sealed else ""
            for sealed in (row.sealed, row.sealed_refresh)
        )
        return cls(*opened)

    @property
    def proof(self) -> str:
        """Return a digest that identifies this pair of secrets and reveals nothing about them."""
        return vault.digest("renewal", f"{self.access}\n{self.refresh}")[:PROOF_DIGITS]


def folder() -> Path:
    return settings.HOME.path("renewals", "x").parent


def bound(token_id: UUID, proof: str) -> str:
    return f"renewal {token_id} {proof}"


def keep(token_id: UUID, proof: str, fresh: Fresh) -> None:
    """Write the new secrets to a file; they are on disk when this returns. Raises OSError."""
    ends = fresh.expires_at.isoformat() if fresh.expires_at else None
    sealed = vault.seal(json.dumps([fresh.secret, fresh.refresh, ends]), bound(token_id, proof))
    write_durable_file(folder() / f"{token_id}.{proof}", [sealed.encode("ascii")])


def forget(token_id: UUID, proof: str) -> None:
    (folder() / f"{token_id}.{proof}").unlink(missing_ok=True)


def waiting(token_id: UUID | None = None) -> list[Path]:
    """Return the files that were left for one token or for all."""
    pattern = str(token_id) if token_id else "*"
    return sorted({*folder().glob(f"{pattern}.*"), *folder().glob(f".{pattern}.*")})


def apply(token_id: UUID | None = None) -> int:
    """Write the secrets left on disk, for one token or for all, into their rows.

    Returns how many files were applied, and deletes them. Raises DatabaseError.
    """
    renewed = 0
    for path in waiting(token_id):
        owner, proof = path.name.lstrip(".").split(".")[:2]
        renewed += _apply(path, UUID(owner), proof)
    return renewed


def _apply(path: Path, token_id: UUID, proof: str) -> bool:
    """Apply one file if it fits its row, delete it, and return whether it was applied.

    The row is read after the file was seen: if the row has other secrets, they are newer. A
    complete draft counts like a file: its writer was killed, or will find its work done.
    """
    row = UpstreamToken.objects.filter(pk=token_id).first()
    try:
        fits = row is not None and Secrets.of(row).proof == proof
        said = (
            vault.unseal(path.read_text(encoding="ascii"), bound(token_id, proof)) if fits else ""
        )
    except FileNotFoundError:
        return False  # another process was faster
    except vault.VaultError as error:
        if not path.name.startswith("."):
            logger.warning("a renewed token waits in %s: %s", path.name, error)
        return False
    if said:
        secret, refresh, ends = json.loads(said)
        commit(
            token_id, proof, Fresh(secret, refresh, datetime.fromisoformat(ends) if ends else None)
        )
    path.unlink(missing_ok=True)
    return bool(said)


def commit(token_id: UUID, proof: str, fresh: Fresh) -> Renewed | None:
    """Replace the secrets of `proof` in the row, unless it has others by now.

    Returns the row's secret after that, or None when there is no such row. Also releases the lease
    and clears strikes and auth failures. Raises DatabaseError, VaultError.
    """
    for _ in range(TRIES):
        row = UpstreamToken.objects.filter(pk=token_id).first()
        if row is None:
            return None
        if Secrets.of(row).proof != proof:
            return Renewed(row.sealed, row.expires_at)
        sealed = vault.seal(fresh.secret, str(token_id))
        refresh = vault.seal(fresh.refresh, str(token_id)) if fresh.refresh else ""
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
            state=Case(When(BY_AUTH, then=Value(State.ACTIVE)), default=F("state")),
            reason=Case(When(Q(state=State.ACTIVE) | BY_AUTH, then=Value("")), default=F("reason")),
            strikes=0,
            cause="",
        ):
            return Renewed(sealed, ends)
    raise vault.VaultError("changes all the time")
