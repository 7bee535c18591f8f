"""Make the rows of a usage report from sums, with names beside ids, and write them as text.

The rows are the same for JSON, CSV and the table of the command. Money is given twice: in USD as a
decimal text, and exactly in millionths of a USD. A sum leaves out requests whose cost is unknown;
`unknown_cost_requests` says how many these are.
"""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from api.usage import subject_names
from api.usage.usage_query import HOUR, GroupSums, UsageQuery, UsageSums
from providers.protocol.json_types import JsonObject

MICRO_USD = Decimal(1_000_000)
FORMULA_CHARS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes such a cell for a formula
SUM_COLUMNS = (
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "cost_usd",
    "cost_micro_usd",
    "unknown_cost_requests",
)


def build_report(query: UsageQuery, usage: UsageSums) -> JsonObject:
    """Return the report of a query: its span, its groups with names, and the sums of all groups."""
    names = [
        load_column_names(group, usage.groups, number)
        for number, group in enumerate(query.group_by)
    ]
    rows = [
        build_group_cells(query.group_by, group.values, names) | build_sum_cells(group.sums)
        for group in usage.groups
    ]
    return {
        "object": "usage",
        "from": format_moment(query.begin),
        "to": format_moment(query.end),
        "group_by": list(query.group_by),
        "data": rows,
        "totals": build_sum_cells(usage.totals),
        "has_more": usage.has_more,
    }


def load_column_names(group: str, groups: Sequence[GroupSums], number: int) -> dict[object, str]:
    """Return the names of the rows in one column of values, by their ids."""
    if group not in subject_names.NAMED_MODELS:
        return {}
    return subject_names.load_names(group, (sums.values[number] for sums in groups))


def build_group_cells(
    group_by: Sequence[str], values: Sequence[object], names: Sequence[dict[object, str]]
) -> JsonObject:
    """Return the cells that say which group it is; ids of rows have their names beside them."""
    cells: JsonObject = {}
    for group, value, names_by_id in zip(group_by, values, names, strict=True):
        if group in subject_names.NAMED_MODELS:
            is_nobody = subject_names.is_nobody(value)
            shown_id = str(value) if group == "token" else value
            cells[f"{group}_id"] = None if is_nobody else shown_id
            cells[group] = names_by_id.get(value)
        elif group == HOUR and isinstance(value, datetime):
            cells[group] = format_moment(value)
        else:
            cells[group] = value
    return cells


def build_sum_cells(sums: dict[str, int]) -> JsonObject:
    cells: JsonObject = dict(sums)
    cells["cost_usd"] = format_usd(sums["cost_micro_usd"])
    return {name: cells[name] for name in SUM_COLUMNS}


def list_columns(group_by: Sequence[str]) -> list[str]:
    """Return the names of a row's cells, in their order."""
    columns: list[str] = []
    for group in group_by:
        if group in subject_names.NAMED_MODELS:
            columns.append(f"{group}_id")
        columns.append(group)
    return [*columns, *SUM_COLUMNS]


def format_usd(micro_usd: int) -> str:
    """Return an amount as a decimal text in USD, for example 0.001500."""
    return f"{Decimal(micro_usd) / MICRO_USD:.6f}"


def format_moment(moment: datetime) -> str:
    """Return a time in UTC, such as 2026-01-31T12:00:00Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


# --- CSV and tables -------------------------------------------------------------------------------
def render_csv(report: JsonObject) -> str:
    """Return the groups of a report as CSV with a line of names."""
    columns = list_columns(report["group_by"])
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    for row in report["data"]:
        writer.writerow([make_csv_cell(row[name]) for name in columns])
    return file.getvalue()


def make_csv_cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA_CHARS):
        return f"'{value}"
    return "" if value is None else value


def render_table(report: JsonObject) -> str:
    """Return the groups of a report as a table for a terminal, with the sums of all groups."""
    groups = report["group_by"]
    columns = (*groups, "requests", "prompt_tokens", "completion_tokens", "cost_usd")
    head = [name.upper().replace("_", " ") for name in columns]
    totals = {groups[0]: "ALL", **report["totals"]}
    lines = [head, *(make_table_line(row, columns) for row in (*report["data"], totals))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    count = len(groups)
    texts = []
    for line in lines:
        cells = [
            cell.ljust(width) if place < count else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts)


def make_table_line(row: JsonObject, columns: Sequence[str]) -> list[str]:
    cells = [str("-" if row.get(name) is None else row[name]) for name in columns]
    if row["unknown_cost_requests"]:
        cells[-1] += f" + {row['unknown_cost_requests']} unknown"
    return ["".join(char if char.isprintable() else "?" for char in cell) for cell in cells]
