"""Seal every secret anew with the first key of FIELD_KEYS, while gateways run.

Each value is opened, sealed and written if the row still has the old text: a secret that a renewal
writes meanwhile stays. The work is done in slices. It can begin again at any time, because the id
of the key in each value shows which ones are left.

A request in flight may compare a token's sealed text with the one before, and then believes that
the token was renewed by another process: it takes the token of the row, which is the same secret.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from providers import vault
from proxysite.backup.rotation.sealed_columns import (
    SEALED_BEGIN,
    SealedColumn,
    SealedValue,
    find_newest_key_id,
    list_columns,
    list_older_key_ids,
    list_values,
    read_sealed_values,
)
from tokens.renewal import unsaved_secrets

UNKNOWN_KEY = "?"  # of values whose key is not in FIELD_KEYS
MOST_UNREADABLE = 5  # rows that are named
Progress = Callable[[str], None]


@dataclass(slots=True)
class RotationReport:
    """How many values were sealed anew; the rows whose values do not open are named."""

    sealed_count: int = 0
    unreadable_count: int = 0
    unreadable_rows: list[str] = field(default_factory=list)

    def add_unreadable(self, value: SealedValue) -> None:
        """Count a value that does not open, and name its row."""
        self.unreadable_count += 1
        if len(self.unreadable_rows) < MOST_UNREADABLE:
            self.unreadable_rows.append(f"{value.column.name} of {value.row.pk}")


# --- counts -------------------------------------------------------------------------------------
def count_keys(column: SealedColumn) -> Counter[str]:
    """Return how many values of a column each key has sealed, by the id of the key."""
    counts: Counter[str] = Counter()
    if column.json_names:
        counts.update(value.key_id for value in read_sealed_values(column))
        return counts
    for key_id in (find_newest_key_id(), *list_older_key_ids()):
        counts[key_id] = column.rows.filter(**sealed_with(column, key_id)).count()
    counts[UNKNOWN_KEY] = column.rows.count() - counts.total()
    return +counts


def sealed_with(column: SealedColumn, key_id: str) -> dict[str, str]:
    """Return the condition of rows whose value this key has sealed."""
    return {f"{column.field}__startswith": f"{SEALED_BEGIN}{key_id}."}


def count_all_keys() -> dict[str, Counter[str]]:
    """Return the counts of each column, by its name."""
    return {column.name: count_keys(column) for column in list_columns()}


def count_waiting_renewals() -> int:
    """Return how many renewed tokens wait in this home that another key has sealed."""
    newest = find_newest_key_id()
    key_ids = map(read_file_key_id, unsaved_secrets.find_secrets_files())
    return sum(key_id not in ("", newest) for key_id in key_ids)


def read_file_key_id(path: Any) -> str:
    """Return the id of the key that sealed a file; empty when the file is gone."""
    try:
        return vault.read_key_id(path.read_text("ascii"))
    except (OSError, ValueError):
        return ""  # applied and deleted meanwhile


# --- the work -----------------------------------------------------------------------------------
def rotate_secrets(slice_rows: int, report_progress: Progress) -> RotationReport:
    """Seal all values anew that another key than the newest one has sealed.

    Writes the rows, a slice in each transaction.
    """
    report = RotationReport()
    for column in list_columns():
        for _ in rotate_column(column, slice_rows, report):
            report_progress(f"{column.name}: {report.sealed_count} values are sealed anew")
    return report


def rotate_column(column: SealedColumn, slice_rows: int, report: RotationReport) -> Iterator[None]:
    """Seal the values of a column anew; yield after each slice."""
    rows = column.rows.order_by("pk")
    if not column.json_names:
        rows = rows.exclude(**sealed_with(column, find_newest_key_id()))
    last: Any = None
    while True:
        begin = rows if last is None else rows.filter(pk__gt=last)
        slice_of_rows = list(begin[:slice_rows])
        if not slice_of_rows:
            return
        with transaction.atomic():
            for row in slice_of_rows:
                rotate_row(column, row, report)
        last = slice_of_rows[-1].pk
        yield


def rotate_row(column: SealedColumn, row: Any, report: RotationReport) -> None:
    """Seal the values of one row anew, unless they were changed meanwhile."""
    newest = find_newest_key_id()
    for value in list_values(column, row):
        if value.key_id == newest:
            continue
        try:
            text = value.open_text()
        except vault.VaultError:
            report.add_unreadable(value)
            continue
        report.sealed_count += write_value(value, text)


def write_value(value: SealedValue, text: str) -> int:
    """Write a secret, sealed with the newest key; return 0 when the row has another one now."""
    column = value.column
    old = getattr(value.row, column.field)
    sealed = vault.encrypt_secret(text, column.get_owner(value.row))
    new = old | {value.json_name: sealed} if column.json_names else sealed
    unchanged = column.rows.filter(pk=value.row.pk, **{column.field: old})
    written: int = unchanged.update(**{column.field: new})
    if written:
        setattr(value.row, column.field, new)
    return written
