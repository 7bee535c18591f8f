"""Errors while rows are converted: those of the row refuse it, those of the machine do not."""

from typing import Any

import pytest

from api.accounting import usage_table
from api.accounting.usage_table import convert_rows
from api.accounting.write_errors import RowsRefused, WriteFailed
from api.accounting.writers import Writer
from api.tests.accounting.written_rows import committed, load_records, make_row, write_rows


def nest_lists(depth: int) -> Any:
    """Return lists within lists."""
    nested: Any = []
    for _ in range(depth):
        nested = [nested]
    return nested


@pytest.mark.parametrize("fault", [MemoryError(), SystemError("odd")])
def test_an_error_of_the_machine_refuses_no_row(fault: Exception) -> None:
    def convert_row(row: Any) -> Any:
        raise fault

    with pytest.raises(type(fault)):
        convert_rows([make_row(1)], convert_row)


@pytest.mark.parametrize("convert", [str, usage_table.encode_attempts])
def test_a_value_that_is_nested_too_deeply_refuses_its_row(convert: Any) -> None:
    with pytest.raises(RowsRefused):
        convert_rows([make_row(1, attempts=nest_lists(100_000))], convert)


@committed
async def test_a_row_for_which_there_was_no_memory_is_written_the_next_time(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def find_no_memory(row: Any) -> Any:
            raise MemoryError

        for name in ("_row_values", "_format_line"):
            patch.setattr(writer, name, find_no_memory, raising=False)
        with pytest.raises(WriteFailed):
            await write_rows(writer, make_row(1))
    await write_rows(writer, make_row(1))
    assert [record.id.int for record in await load_records()] == [1]
