"""Export tokens and accounts with their secrets: as lines, JSON, a table, or an encrypted bundle.

Rows are read some hundred at a time, so that an export of any size takes little memory. Each form
can be imported again.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import UUID

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from providers import vault
from tokens.exports.encrypted_bundle import encrypt_bundle
from tokens.models import UpstreamAccount, UpstreamToken
from tokens.querysets import TokenQuerySet

ROWS_AT_ONCE = 500
COLUMNS = (
    *("provider", "base_url", "token", "refresh_token", "email", "password"),
    *("label", "expires_at"),
)
FORMULA_CHARS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes such a cell for a formula
UNREADABLE = "its secret cannot be opened with this gateway's FIELD_KEYS"
Record = dict[str, str]


class ExportForm(NamedTuple):
    """A form of an export: its name for people, the file's ending and type."""

    label: Promise
    suffix: str
    content_type: str


EXPORT_FORMS = {
    "bundle": ExportForm(_("Encrypted with a passphrase"), "bundle.txt", "text/plain"),
    "json": ExportForm(_("JSON, a token in each line"), "jsonl", "application/x-ndjson"),
    "csv": ExportForm(_("Table (CSV)"), "csv", "text/csv"),
    "lines": ExportForm(_("Only the tokens, one per line"), "txt", "text/plain"),
}


def stream_export(tokens: TokenQuerySet, form: str, passphrase: str = "") -> Iterator[str]:
    """Yield the pieces of an export in one of EXPORT_FORMS; a bundle needs a passphrase."""
    if form == "bundle":
        yield from encrypt_bundle(stream_pieces(tokens, render_json), passphrase)
        return
    if form == "csv":
        yield render_cells(COLUMNS)
    render = {"json": render_json, "csv": render_row, "lines": render_line}[form]
    yield from stream_pieces(tokens, render)


def stream_pieces(tokens: TokenQuerySet, render: Callable[[Record], str]) -> Iterator[str]:
    """Yield the text of some hundred tokens at a time."""
    for rows in read_rows(tokens):
        yield "".join(render(build_record(row)) for row in rows)


def read_rows(tokens: TokenQuerySet) -> Iterator[list[UpstreamToken]]:
    """Yield the rows in the order of their ids, some hundred at a time."""
    ordered = tokens.select_related("provider", "account").order_by("pk")
    last_id: UUID | None = None
    while True:
        rows = list((ordered if last_id is None else ordered.filter(pk__gt=last_id))[:ROWS_AT_ONCE])
        if not rows:
            return
        yield rows
        last_id = rows[-1].pk


def build_record(row: UpstreamToken) -> Record:
    """Return the record to export of a token; a secret that cannot be opened becomes a problem."""
    record = {"provider": row.provider.name, "base_url": row.provider.base_url}
    try:
        record |= open_secret(row)
    except vault.VaultError:
        return record | {"masked": row.masked, "problem": UNREADABLE}
    if row.label:
        record["label"] = row.label
    if row.expires_at is not None and not row.is_renewable:
        record["expires_at"] = row.expires_at.isoformat()
    return record


def open_secret(row: UpstreamToken) -> Record:
    """Return the account of a token, its refresh token, or the token. Raises VaultError.

    Where a token is renewed, the lasting secret is exported and not the token of the moment.
    """
    if row.account is not None:
        return open_account(row.account)
    if row.sealed_refresh:
        return {"refresh_token": vault.decrypt_secret(row.sealed_refresh, str(row.pk))}
    return {"token": vault.decrypt_secret(row.sealed, str(row.pk))}


def open_account(account: UpstreamAccount) -> Record:
    """Return the address and the password of an account. Raises VaultError."""
    password = vault.decrypt_secret(account.sealed, str(account.pk))
    return {"email": account.email, "password": password}


# --- the forms ------------------------------------------------------------------------------------
def render_json(record: Record) -> str:
    return f"{json.dumps(record, ensure_ascii=False)}\n"


def render_line(record: Record) -> str:
    """Return the token, or the account as `email:password`; a comment where there is a problem."""
    if "problem" in record:
        return f"# {record['masked']}: {record['problem']}\n"
    if "password" in record:
        return f"{record['email']}:{record['password']}\n"
    return f"{record.get('refresh_token') or record['token']}\n"


def render_row(record: Record) -> str:
    """Return a row of the table, whose cells no spreadsheet takes for formulas."""
    return render_cells([record.get(name, "") for name in COLUMNS])


def render_cells(cells: list[str] | tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([defuse_formula(cell) for cell in cells])
    return text.getvalue()


def defuse_formula(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_CHARS) else cell
