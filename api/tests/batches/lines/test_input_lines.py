"""The lines of an input file, read as a stream."""

import io
import tracemalloc

import pytest

from api.batches.lines.input_lines import check_input_file, iterate_lines
from api.tests.endpoints.batches.batch_requests import CHAT, make_lines, render_lines


def test_lines_are_numbered_and_blank_ones_are_left_out():
    file = io.BytesIO(b"\xef\xbb\xbfa\n\n \t\r\nb\nc")
    lines = [(line.position, line.number, line.raw) for line in iterate_lines(file)]
    assert lines == [(0, 1, b"a\n"), (1, 4, b"b\n"), (2, 5, b"c")]


def test_lines_are_read_from_a_position_on():
    file = io.BytesIO(b"a\nb\nc\n")
    assert [line.raw for line in iterate_lines(file, 2)] == [b"c\n"]


@pytest.mark.parametrize("size", [9, 10, 11, 35, 40])
def test_a_line_that_is_too_long_is_one_line(settings, size):
    settings.BATCH_LINE_BYTES = 10
    file = io.BytesIO(b"x" * size + b"\nshort\n")
    lines = list(iterate_lines(file))
    assert [line.number for line in lines] == [1, 2]
    assert len(lines[0].raw) == min(size + 1, 11)
    assert lines[1].raw == b"short\n"


def test_the_check_holds_no_bodies_in_memory(tmp_path):
    path = tmp_path / "input.jsonl"
    path.write_bytes(render_lines(make_lines(5_000)).replace(b"Hello", b"Hello" * 200))
    assert path.stat().st_size > 5_000_000
    tracemalloc.start()
    try:
        summary = check_input_file(path, CHAT)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (summary.line_count, summary.model, summary.errors) == (5_000, "m", [])
    assert peak_bytes < 1_500_000
