"""Install database triggers, for SQLite and Postgres.

A module that has triggers describes them as `TriggerSet`s; an app passes its sets once in `ready`
to `install_after_migrate`. They are installed after each `migrate` and not by single migrations,
because schema changes rebuild tables on SQLite, which drops their triggers. All names and
statements come from this project's code, never from input.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from django.apps import AppConfig
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_migrate


class Trigger(NamedTuple):
    """One trigger of a table.

    `definition` is the text after its name in CREATE TRIGGER. A trigger without a definition
    belongs to an earlier release: it is only dropped.
    """

    name: str
    table: str
    definition: str = ""


@dataclass(frozen=True, slots=True)
class TriggerSet:
    """Triggers that belong together.

    They are installed when all `tables` exist. `functions` are those that Postgres's triggers call:
    names and the statements that create or replace them. `sqlite_settings` are statements that
    SQLite executes last.
    """

    tables: frozenset[str]
    sqlite: tuple[Trigger, ...] = ()
    postgres: tuple[Trigger, ...] = ()
    functions: Mapping[str, str] = field(default_factory=dict)
    sqlite_settings: tuple[str, ...] = ()

    def list_triggers(self, vendor: str) -> tuple[Trigger, ...]:
        """Return the triggers for a database of this vendor."""
        if vendor == "postgresql":
            return self.postgres
        return self.sqlite


def install_triggers(connection: BaseDatabaseWrapper, trigger_sets: Iterable[TriggerSet]) -> None:
    """Create triggers and their functions, replacing those that exist.

    Writes only the schema. Sets whose tables do not all exist are left for a later run. A set is
    replaced in one transaction: no row is written between its old and its new triggers.
    """
    with connection.cursor() as cursor:
        existing = set(connection.introspection.table_names(cursor))
    for trigger_set in trigger_sets:
        if trigger_set.tables <= existing:
            with transaction.atomic(using=connection.alias):
                statements = list_install_statements(connection.vendor, trigger_set)
                execute_statements(connection, statements)
            if connection.vendor == "sqlite":
                execute_statements(connection, trigger_set.sqlite_settings)


def drop_triggers(connection: BaseDatabaseWrapper, trigger_set: TriggerSet) -> None:
    """Drop triggers and their functions where they exist. Writes only the schema."""
    vendor = connection.vendor
    triggers = trigger_set.list_triggers(vendor)
    execute_statements(connection, [render_drop_statement(vendor, trigger) for trigger in triggers])
    if vendor == "postgresql":
        functions = trigger_set.functions
        execute_statements(connection, [f"DROP FUNCTION IF EXISTS {name}" for name in functions])


def execute_statements(connection: BaseDatabaseWrapper, statements: Iterable[str]) -> None:
    """Execute statements without parameters, one after the other."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def list_install_statements(vendor: str, trigger_set: TriggerSet) -> list[str]:
    """Return the statements that create the functions, and drop and create each trigger."""
    statements: list[str] = []
    if vendor == "postgresql":
        statements += trigger_set.functions.values()
    for trigger in trigger_set.list_triggers(vendor):
        statements.append(render_drop_statement(vendor, trigger))
        if trigger.definition:
            statements.append(f"CREATE TRIGGER {trigger.name} {trigger.definition}")
    return statements


def render_drop_statement(vendor: str, trigger: Trigger) -> str:
    """Return the statement that drops a trigger where it exists."""
    statement = f"DROP TRIGGER IF EXISTS {trigger.name}"
    if vendor == "postgresql":
        statement += f" ON {trigger.table}"
    return statement


def install_after_migrate(
    app: AppConfig,
    list_trigger_sets: Callable[[], list[TriggerSet]],
) -> None:
    """Install an app's triggers after each `migrate`; `list_trigger_sets` is called then."""

    def install_for_signal(using: str, **signal: object) -> None:
        install_triggers(connections[using], list_trigger_sets())

    uid = f"triggers of {app.label}"
    post_migrate.connect(install_for_signal, sender=app, weak=False, dispatch_uid=uid)
