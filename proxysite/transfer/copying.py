"""Copy every row of the SQLite database into an empty Postgres database, and prove it.

Rows are copied in slices, each with a note of the position in its table: an interrupted copy goes
on from there. The copy counts only at its end, when the rows of both databases have been counted
and digested. Foreign keys and triggers are set aside meanwhile, so that the order of tables does
not matter and no gateway is notified of half a copy.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError

from conversations.search.index_words import span_word
from proxysite.transfer.source import BEFORE_FIRST_ROW, WORDS_TABLE, SourceDatabase
from proxysite.transfer.target import TABLES_FILLED_BY_MIGRATE, TARGET_ALIAS, TargetDatabase
from proxysite.transfer.values import Value, digest_rows

SLICE_BYTES = 8 * 2**20  # a slice ends here too, as one index of a document may have megabytes
Progress = Callable[[str, int, int], None]


class CopyRefused(Exception):
    """The copy cannot be made; the text is one line for the person who asked for it."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """A table with its columns, their types on Postgres (`kinds`), and its number of rows."""

    table: str
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class TableProof:
    """The count and digest of a table, which are the same in both databases."""

    table: str
    count: int
    digest: str


def prepare_target(target: TargetDatabase, source_name: str, dry_run: bool) -> None:
    """Migrate the target, once it is clear that it is empty or holds the beginning of this copy.

    With `dry_run` nothing is written. Raises CopyRefused.
    """
    if target.has_notes():
        if target.read_source_name() != source_name:
            raise CopyRefused(
                f"The target holds the beginning of a copy of {target.read_source_name()}."
            )
        return
    require_empty_target(target)
    if not dry_run:
        call_command("migrate", database=TARGET_ALIAS, verbosity=0, interactive=False)
        require_empty_target(target)


def require_empty_target(target: TargetDatabase) -> None:
    """Raise CopyRefused when the target has tables of another program, or has rows."""
    tables = target.read_tables()
    ours = {model._meta.db_table for model in apps.get_models(include_auto_created=True)} | {
        WORDS_TABLE
    }
    if foreign := sorted(set(tables) - ours):
        raise CopyRefused(
            f"The target has tables that are not of this program: {', '.join(foreign[:5])}."
        )
    empty_tables = [table for table in tables if table not in TABLES_FILLED_BY_MIGRATE]
    if filled := target.find_filled_tables(empty_tables):
        raise CopyRefused(f"The target is not empty, it has rows in: {', '.join(filled[:5])}.")


def make_plans(source: SourceDatabase, target: TargetDatabase) -> list[TablePlan]:
    """Return the plan of each table, once the roll-ups of usage contain all records.

    Raises CopyRefused when the migrations or the columns of the two databases differ.
    """
    if source.read_migrations() != target.read_migrations():
        raise CopyRefused(
            "The source is of another version: run `make serve` on it once, end it, and copy then."
        )
    source.fold_usage_records()
    plans = []
    for table in target.read_tables():
        kinds = target.read_kinds(table)
        if set(source.read_columns(table)) != set(kinds):
            raise CopyRefused(f"The table {table} has other columns in the source.")
        plans.append(
            TablePlan(table, tuple(kinds), tuple(kinds.values()), source.count_rows(table))
        )
    return plans


def copy_rows(
    source: SourceDatabase,
    target: TargetDatabase,
    plan: TablePlan,
    slice_rows: int,
    progress: Progress,
) -> None:
    """Copy the rows of one table that the target does not have yet. Raises CopyRefused."""
    position = target.read_position(plan.table)
    done = 0
    try:
        for rows, last in read_slices(source, plan, position, slice_rows):
            target.write_slice(plan.table, plan.columns, rows, last)
            done += len(rows)
            progress(plan.table, done, plan.count)
    except (DatabaseError, psycopg.Error, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise CopyRefused(f"The table {plan.table} cannot be copied: {reason}.") from None


def read_slices(
    source: SourceDatabase, plan: TablePlan, position: int | None, slice_rows: int
) -> Iterator[tuple[list[Sequence[Value]], int]]:
    """Yield slices of the rows behind `position`, as (rows, the last row's position)."""
    begin = BEFORE_FIRST_ROW if position is None else position
    last = begin
    rows: list[Sequence[Value]] = []
    size = 0
    for last, values in read_source_rows(source, plan, after=begin):
        rows.append(values)
        size += sum(len(value) for value in values if isinstance(value, str | bytes))
        if len(rows) >= slice_rows or size >= SLICE_BYTES:
            yield rows, last
            rows = []
            size = 0
    if rows:
        yield rows, last


def read_source_rows(
    source: SourceDatabase, plan: TablePlan, after: int = BEFORE_FIRST_ROW
) -> Iterator[tuple[int, list[Value]]]:
    """Yield (rowid, values as Postgres takes them) of the rows behind the row `after`."""
    for rowid, values in source.read_rows(plan.table, plan.columns, plan.kinds, after):
        yield rowid, adapt_words(plan, values) if plan.table == WORDS_TABLE else values


def adapt_words(plan: TablePlan, values: Sequence[Value]) -> list[Value]:
    """Return a row of the full-text index in the form of Postgres.

    It is a list of words, with one more word for the span of ids that the item is in.
    """
    row = dict(zip(plan.columns, values, strict=True))
    span = span_word(row["user_id"], row["item_id"])
    row["words"] = sorted({span, *str(row["words"]).split()})
    return [row[column] for column in plan.columns]


def prove_copy(source: SourceDatabase, target: TargetDatabase, plan: TablePlan) -> TableProof:
    """Count and digest a table in both databases. Raises CopyRefused when they differ."""
    theirs = target.digest_table(plan.table, plan.columns, plan.kinds)
    ours = digest_rows(plan.kinds, (values for _, values in read_source_rows(source, plan)))
    if ours != theirs:
        raise CopyRefused(
            f"The table {plan.table} differs: {ours[0]} rows here, {theirs[0]} there. The "
            "source has changed since "
            "the copy began: empty the target and copy again."
        )
    return TableProof(plan.table, *ours)
