"""Every column with sealed secrets, and the owner to whom each secret is bound.

A column that is missing here would keep its old key for ever: `proxysite/tests/backup/rotation/`
has a test that finds such a column.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet

from providers import vault
from proxysite.access.sign_in.secrets_owner import SECRETS_OWNER

ROWS_AT_ONCE = 500
SEALED_BEGIN = "v1."


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column with sealed secrets.

    `get_owner` returns the owner to whom the secrets of a row are bound. `json_names` are the names
    of the sealed values in a column with JSON; in others the whole text is sealed. `selection` are
    values of columns that a row must have.
    """

    model_name: str
    field: str
    get_owner: Callable[[Any], str]
    json_names: tuple[str, ...] = ()
    selection: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.model_name}.{self.field}"

    @property
    def is_installed(self) -> bool:
        """Return whether its table exists here; that of authenticator apps is optional."""
        return apps.is_installed(OPTIONAL_APPS.get(self.model_name, "tokens"))

    @property
    def rows(self) -> "QuerySet[Model]":
        """Return the rows with a sealed secret."""
        manager = apps.get_model(self.model_name)._base_manager
        rows: QuerySet[Model] = manager.filter(**dict(self.selection))
        if not self.json_names:
            rows = rows.exclude(**{self.field: ""})
        return rows


@dataclass(frozen=True, slots=True)
class SealedValue:
    """A sealed secret of one row."""

    row: Any
    column: SealedColumn
    json_name: str
    sealed: str

    def open_text(self) -> str:
        """Return the secret. Raises VaultError."""
        return vault.decrypt_secret(self.sealed, self.column.get_owner(self.row))

    @property
    def key_id(self) -> str:
        return vault.read_key_id(self.sealed)


def get_row_id(row: Any) -> str:
    """Return the id of a row, to which most secrets are bound."""
    return str(row.pk)


SEALED_COLUMNS = (
    SealedColumn("tokens.UpstreamToken", "sealed", get_row_id),
    SealedColumn("tokens.UpstreamToken", "sealed_refresh", get_row_id),
    SealedColumn("tokens.UpstreamAccount", "sealed", get_row_id),
    SealedColumn("tokens.ImportText", "sealed", lambda row: str(row.owner)),
    SealedColumn(
        "tokens.SecretCheck",
        "value",
        lambda row: f"secret check {row.name}",
        selection=(("name", "FIELD_KEYS"),),
    ),
    SealedColumn("providers.Provider", "sealed_proxy_password", lambda row: str(row.proxy_binding)),
    SealedColumn("providers.McpServer", "sealed_headers", lambda row: str(row.header_binding)),
    # authenticator apps, and their recovery codes
    SealedColumn("mfa.Authenticator", "data", lambda row: SECRETS_OWNER, ("secret", "seed")),
)
OPTIONAL_APPS = {"mfa.Authenticator": "allauth.mfa"}


def list_columns() -> list[SealedColumn]:
    """Return the columns whose tables exist in this gateway."""
    return [column for column in SEALED_COLUMNS if column.is_installed]


def find_newest_key_id() -> str:
    """Return the id of the key that seals."""
    return next(iter(vault.get_ciphers()))


def list_older_key_ids() -> list[str]:
    """Return the ids of the keys that only open."""
    return list(vault.get_ciphers())[1:]


def read_sealed_values(column: SealedColumn) -> Iterator[SealedValue]:
    """Yield each sealed secret of a column."""
    for row in column.rows.order_by("pk").iterator(ROWS_AT_ONCE):
        yield from list_values(column, row)


def list_values(column: SealedColumn, row: Any) -> list[SealedValue]:
    """Return the sealed secrets of one row."""
    content = getattr(row, column.field)
    if not column.json_names:
        return [SealedValue(row, column, "", content)] if content else []
    return [
        SealedValue(row, column, name, content[name])
        for name in column.json_names
        if str(content.get(name, "")).startswith(SEALED_BEGIN)
    ]
