"""The triggers that keep the roll-ups true to the usage records, for SQLite and Postgres.

On Postgres they do all of it, in the transaction of whoever writes records: each statement adds the
sums of its new rows, and an update the difference. Rows that ON CONFLICT skips are no new rows. On
SQLite new records are added by `folding.py`, many at once; triggers follow a change of a cost and
keep the mark up to which records are contained when records are deleted. A deleted record stays in
the sums.
"""

from api.usage.record_additions import list_add_statements, list_summed_tables
from api.usage.rollup_sql import (
    FOLDED_ROWID,
    POSTGRES,
    RECORDS,
    SPEND,
    SQLITE,
    STATE,
    render_add_spend,
)
from api.usage.spans.slot_rollups import ANSWER_TIMES
from providers.database.triggers import Trigger, TriggerSet

SUMMED_TABLES = frozenset(table for table, _ in list_summed_tables(SQLITE))
TABLES = SUMMED_TABLES | {RECORDS, ANSWER_TIMES, SPEND, STATE, "api_team"}
POSTGRES_CHANGES = """(
    SELECT 1 AS sign, new_rows.* FROM new_rows UNION ALL SELECT -1, old_rows.* FROM old_rows
)"""


def render_postgres_function(name: str, source: str, sign: str = "") -> str:
    """Return the statement that creates the function of a trigger."""
    *sums, spend = list_add_statements(POSTGRES, source, sign)
    add_sums = ";\n        ".join(sums)
    return f"""
    CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        {add_sums};
        IF EXISTS (SELECT 1 FROM {source} AS records WHERE cost_micro_usd IS NOT NULL) THEN
            {spend};
        END IF;
        RETURN NULL;
    END $$
    """


def render_postgres_trigger(event: str, tables: str) -> str:
    return (
        f"AFTER {event} ON {RECORDS} REFERENCING {tables} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION proxysite_usage_{event.lower()}()"
    )


# --- SQLite ---------------------------------------------------------------------------------------
NEW_RECORD = (
    "(SELECT NEW.started_at AS started_at, NEW.key_id AS key_id, NEW.user_id AS user_id, "
    "NEW.team_id AS team_id, NEW.end_user_id AS end_user_id, "
    "NEW.model AS model, NEW.provider_id AS provider_id, "
    "NEW.token_id AS token_id, NEW.status AS status, "
    "NEW.http_status AS http_status, NEW.error_code AS error_code, "
    "COALESCE(NEW.cost_micro_usd, 0) - COALESCE(OLD.cost_micro_usd, 0) AS cost_micro_usd)"
)


def render_cost_update(table: str, key_values: dict[str, str]) -> str:
    """Return the statement that adds the difference of a record's cost to a row of sums."""
    keys = ", ".join(key_values)
    values = ", ".join(key_values.values())
    became_unknown = "(NEW.cost_micro_usd IS NULL) - (OLD.cost_micro_usd IS NULL)"
    return (
        f"UPDATE {table} SET cost_micro_usd = cost_micro_usd "
        "+ COALESCE(NEW.cost_micro_usd, 0) - COALESCE(OLD.cost_micro_usd, 0), "
        "unknown_cost_requests = unknown_cost_requests "
        f"+ (NEW.status <> 'refused') * NEW.request_count * ({became_unknown}) "
        f"WHERE ({keys}) = (SELECT {values} FROM {NEW_RECORD} AS records)"
    )


def render_sqlite_cost_trigger() -> str:
    updates = (
        *(
            render_cost_update(table, key_values)
            for table, key_values in list_summed_tables(SQLITE)
        ),
        render_add_spend(SQLITE, NEW_RECORD),
    )
    return (
        f"AFTER UPDATE OF cost_micro_usd ON {RECORDS} "
        "WHEN OLD.cost_micro_usd IS NOT NEW.cost_micro_usd "
        f"AND NEW.rowid <= {FOLDED_ROWID} BEGIN {'; '.join(updates)}; END"
    )


SQLITE_DELETE_TRIGGER = f"""
AFTER DELETE ON {RECORDS} WHEN OLD.id = (SELECT folded_record FROM {STATE})
BEGIN
    UPDATE {STATE} SET folded_record = (
        SELECT id FROM {RECORDS} WHERE rowid < OLD.rowid ORDER BY rowid DESC LIMIT 1
    );
END
"""


def list_rollup_triggers() -> list[TriggerSet]:
    """Return the triggers of the table of usage records."""
    insert_name = "proxysite_usage_insert"
    update_name = "proxysite_usage_update"
    triggers = TriggerSet(
        TABLES,
        sqlite=(
            Trigger("proxysite_usage_cost", RECORDS, render_sqlite_cost_trigger()),
            Trigger("proxysite_usage_delete", RECORDS, SQLITE_DELETE_TRIGGER),
        ),
        postgres=(
            Trigger(
                insert_name, RECORDS, render_postgres_trigger("INSERT", "NEW TABLE AS new_rows")
            ),
            Trigger(
                update_name,
                RECORDS,
                render_postgres_trigger("UPDATE", "OLD TABLE AS old_rows NEW TABLE AS new_rows"),
            ),
        ),
        functions={
            insert_name: render_postgres_function(insert_name, "new_rows"),
            update_name: render_postgres_function(update_name, POSTGRES_CHANGES, "sign"),
        },
    )
    return [triggers]
