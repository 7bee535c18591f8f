"""The installer of triggers, on tables of its own."""

from collections.abc import Iterator

import pytest
from django.db import connection

from providers.database.triggers import (
    Trigger,
    TriggerSet,
    drop_triggers,
    execute_statements,
    install_triggers,
)

NAME, TABLE, LOG = "triggers_test", "triggers_test_rows", "triggers_test_log"
INSERT = f"INSERT INTO {LOG} (id) VALUES (NEW.id);"
FUNCTION = (
    f"CREATE OR REPLACE FUNCTION {NAME}() RETURNS trigger LANGUAGE plpgsql"
    f" AS $$ BEGIN {INSERT} RETURN NULL; END $$ -- it logs each row"
)
SQLITE = f"AFTER INSERT ON {TABLE} BEGIN {INSERT} END"
POSTGRES = f"AFTER INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION {NAME}()"


def logging_triggers(*, tables: tuple[str, ...] = (TABLE, LOG), name: str = NAME) -> TriggerSet:
    sqlite, postgres = (Trigger(name, TABLE, SQLITE),), (Trigger(name, TABLE, POSTGRES),)
    return TriggerSet(frozenset(tables), sqlite, postgres, {NAME: FUNCTION})


@pytest.fixture(autouse=True)
def tables(transactional_db: None) -> Iterator[None]:
    execute_statements(connection, [f"CREATE TABLE {name} (id integer)" for name in (TABLE, LOG)])
    yield
    cascade = " CASCADE" if connection.vendor == "postgresql" else ""
    execute_statements(connection, [f"DROP TABLE {name}{cascade}" for name in (TABLE, LOG)])
    if connection.vendor == "postgresql":
        execute_statements(connection, [f"DROP FUNCTION IF EXISTS {NAME}"])


def logged_rows() -> list[int]:
    """Insert a row; return what the triggers have logged since the last time."""
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {LOG}")
        cursor.execute(f"INSERT INTO {TABLE} (id) VALUES (1)")
        cursor.execute(f"SELECT id FROM {LOG}")
        return [row_id for (row_id,) in cursor.fetchall()]


def test_a_trigger_that_is_installed_again_works_once() -> None:
    install_triggers(connection, [logging_triggers()])
    install_triggers(connection, [logging_triggers()])
    assert logged_rows() == [1]


def test_triggers_of_a_table_that_is_not_there_are_left_for_later() -> None:
    install_triggers(connection, [logging_triggers(tables=(TABLE, "no_such_table"))])
    assert logged_rows() == []


def test_a_trigger_of_an_earlier_release_is_dropped() -> None:
    install_triggers(connection, [logging_triggers(name="triggers_test_old")])
    assert logged_rows() == [1]
    old = (Trigger("triggers_test_old", TABLE),)
    install_triggers(connection, [TriggerSet(frozenset((TABLE,)), old, old)])
    assert logged_rows() == []


def test_dropped_triggers_work_no_more_and_can_be_dropped_again() -> None:
    install_triggers(connection, [logging_triggers()])
    drop_triggers(connection, logging_triggers())
    drop_triggers(connection, logging_triggers())
    assert logged_rows() == []
