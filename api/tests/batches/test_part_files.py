"""The results of lines on the disk."""

import pytest

from api.batches import part_files
from api.batches.part_files import ERROR, NO_USAGE, OUTPUT, LineResult, LineUsage, PartWriter

BATCH = "batch_00000000000000000000000000000000"


@pytest.fixture(autouse=True)
def _folder():
    part_files.find_folder(BATCH)
    yield
    part_files.delete_parts(BATCH)


def write_results(run_number, *results):
    writer = PartWriter(BATCH, run_number)
    writer.append_results(results)
    writer.close()


def test_results_of_all_runs_are_counted_once_each():
    write_results(1, LineResult(0, OUTPUT, LineUsage(5, 1, 2, 1), b"first"))
    write_results(
        2,
        LineResult(0, OUTPUT, LineUsage(9, 9, 9, 9), b"again"),
        LineResult(2, ERROR, NO_USAGE, b"bad text"),
    )
    tally = part_files.read_tally(BATCH, 3)
    assert list(tally.has_result) == [1, 0, 1]
    assert (tally.completed, tally.failed, tally.done_count) == (1, 1, 2)
    assert tally.usage == LineUsage(5, 1, 2, 1)
    texts = [result.text for result in part_files.iterate_results(BATCH)]
    assert texts == [b"first", b"again", b"bad text"]


def test_half_a_record_of_a_killed_process_is_no_result():
    write_results(1, LineResult(0, OUTPUT, NO_USAGE, b"whole"))
    path = part_files.find_folder(BATCH) / "00000001"
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole[:-cut])
        assert [result.text for result in part_files.iterate_results(BATCH)] == [b"whole"]


def test_a_line_beyond_the_end_is_no_result():
    write_results(1, LineResult(7, OUTPUT, NO_USAGE, b"x"))
    assert part_files.read_tally(BATCH, 3).done_count == 0
