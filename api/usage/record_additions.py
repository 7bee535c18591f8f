"""The statements that add usage records to all roll-ups, in their order."""

from api.usage.rollup_sql import (
    DAYS,
    HOUR_TOTALS,
    HOURS,
    Dialect,
    render_add_spend,
    render_add_sums,
    render_key_values,
    render_total_values,
)
from api.usage.spans.slot_rollups import SLOTS, render_add_times, render_shard_values


def list_summed_tables(dialect: Dialect) -> list[tuple[str, dict[str, str]]]:
    """Return the tables of sums, each with the value of a record for each column of its key."""
    return [
        (HOURS, render_key_values(dialect, dialect.hour)),
        (HOUR_TOTALS, render_total_values(dialect)),
        (DAYS, render_key_values(dialect, dialect.day)),
        (SLOTS, render_shard_values(dialect)),
    ]


def list_add_statements(dialect: Dialect, source: str, sign: str = "") -> list[str]:
    """Return the statements that add the records of `source` to all roll-ups, in their order.

    The last one is about spending.
    """
    return [
        *(
            render_add_sums(dialect, table, key_values, source, sign)
            for table, key_values in list_summed_tables(dialect)
        ),
        render_add_times(dialect, source, sign),
        render_add_spend(dialect, source, sign),
    ]
