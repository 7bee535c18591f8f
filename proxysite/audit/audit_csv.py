"""Lines of CSV that no spreadsheet takes for formulas."""

import csv
import io
from collections.abc import Iterable

from api.usage.usage_report import make_csv_cell

CSV_COLUMNS = ("time", "who", "from", "action", "kind", "id", "object", "message", "changes")


def write_csv_line(values: Iterable[object]) -> bytes:
    """Return one line; a text that a spreadsheet would compute begins with an apostrophe."""
    line = io.StringIO()
    csv.writer(line).writerow([make_csv_cell(value) for value in values])
    return line.getvalue().encode()
