"""Read a table with a heading (CSV): columns of tokens or accounts, and of facts about them.

The columns are found by their names, so that a table exported from a database of channels can be
imported as it is. A cell may have several lines, a key in each.
"""

import csv
from collections.abc import Iterator

from tokens.imports.formats.json_documents import (
    ADDRESS_FIELDS,
    EMAIL_FIELDS,
    PASSWORD_FIELDS,
    TOKEN_FIELDS,
    read_entry,
)
from tokens.imports.formats.source_lines import FoundCredential, MalformedLine, SourceLine

DELIMITERS = ("\t", ";", ",", "|")
FIELD_OF_COLUMN = {
    **{name: name for name in (*EMAIL_FIELDS, *PASSWORD_FIELDS, *TOKEN_FIELDS, *ADDRESS_FIELDS)},
    "e-mail": "email",
    "tokens": "token",
    "keys": "key",
    "apikey": "api_key",
    "api key": "api_key",
    "secret": "token",
    "pw": "password",
    "label": "label",
    "name": "name",
    "notes": "notes",
    "remark": "remark",
    "expires_at": "expires_at",
    "type": "type",
}
MAX_CELL_CHARS = 4 * 2**20
FORMULA_QUOTE = "'"  # what exports put before a cell that a spreadsheet would compute


def find_delimiter(sample: list[str]) -> str:
    """Return the sign between the columns if the first line is the heading of a table, else ""."""
    heading = next((line for line in sample if line.strip()), "")
    for delimiter in DELIMITERS:
        names = split_heading(heading, delimiter)
        fields = {FIELD_OF_COLUMN.get(name) for name in names}
        has_account = bool(fields & {*EMAIL_FIELDS}) and bool(fields & {*PASSWORD_FIELDS})
        if len(names) > 1 and (fields & {*TOKEN_FIELDS} or has_account):
            return delimiter
    return ""


def split_heading(line: str, delimiter: str) -> list[str]:
    """Return the names of the columns in small letters."""
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []
    return [cell.strip().lower() for cell in cells]


def read_table(lines: list[str], delimiter: str) -> Iterator[SourceLine]:
    """Yield each row of the table; its number is that of its last line."""
    csv.field_size_limit(MAX_CELL_CHARS)
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)
    names: list[str] = []
    while True:
        try:
            cells = next(reader, None)
        except csv.Error:
            yield SourceLine(reader.line_num, problem="is no valid line of a table")
            continue
        if cells is None:
            return
        if not names or not any(cell.strip() for cell in cells):
            names = names or [cell.strip().lower() for cell in cells]
            yield SourceLine(reader.line_num)
            continue
        yield read_row(reader.line_num, names, cells)


def read_row(number: int, names: list[str], cells: list[str]) -> SourceLine:
    """Return the credentials of a row."""
    try:
        return SourceLine(number, read_cells(names, cells))
    except MalformedLine as fault:
        return SourceLine(number, problem=str(fault).replace("is JSON", "is a row"))


def read_cells(names: list[str], cells: list[str]) -> list[FoundCredential]:
    """Return the credentials of the cells below these names of columns. Raises MalformedLine."""
    entry: dict[str, object] = {}
    for name, cell in zip(names, cells, strict=False):
        field = FIELD_OF_COLUMN.get(name)
        text = cell.strip()
        if field is not None and text and field not in entry:
            entry[field] = unquote_formula(text)
    channel_type = entry.get("type")
    if isinstance(channel_type, str) and channel_type.isdecimal() and len(channel_type) < 4:
        entry["type"] = int(channel_type)
    if not entry:
        raise MalformedLine("is a row without a token or an account")
    return read_entry(entry)


def unquote_formula(cell: str) -> str:
    """Return the cell without the quote that keeps a spreadsheet from computing it."""
    if cell.startswith(FORMULA_QUOTE) and cell[1:2] in "=+-@":
        return cell[1:]
    return cell
