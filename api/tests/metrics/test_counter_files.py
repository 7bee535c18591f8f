"""Processes of one home share their counters, and those of a dead process are not lost."""

from api.metrics.counter_files import CounterFiles
from api.metrics.request_counters import RequestCounters
from api.tests.metrics.test_request_counters import make_row


def count_requests(counters):
    return sum(sums[0] for sums in counters.sums.values())


def make_counters(requests):
    counters = RequestCounters()
    counters.add_rows([make_row(request_count=requests)])
    return counters


def test_a_process_sees_the_counters_and_values_of_the_others(tmp_path):
    first, second = CounterFiles(tmp_path), CounterFiles(tmp_path)
    second.write_counters(make_counters(5), {"requests_in_flight": 2})
    whole = make_counters(1)
    assert first.add_others(whole) == [{"requests_in_flight": 2}]
    assert count_requests(whole) == 6
    second.write_counters(make_counters(3), {})  # shorter than before
    whole = RequestCounters()
    assert first.add_others(whole) == [{}]
    assert count_requests(whole) == 3


def test_a_process_takes_over_what_ended_ones_have_left_and_only_that(tmp_path):
    ended, living = CounterFiles(tmp_path), CounterFiles(tmp_path)
    ended.write_counters(make_counters(5), {"requests_in_flight": 9})
    living.write_counters(make_counters(7), {})
    ended.close()
    new = CounterFiles(tmp_path)
    counters = RequestCounters()
    new.take_over(counters)
    assert count_requests(counters) == 5
    whole = RequestCounters()
    assert living.add_others(whole) == [{}], "the values of a dead process are no more"
    assert count_requests(whole) == 5
    new.take_over(counters)
    assert count_requests(counters) == 5, "nothing is taken over twice"


def test_a_file_that_cannot_be_read_is_left_out(tmp_path, caplog):
    files = CounterFiles(tmp_path)
    (tmp_path / "1-a.counters").write_text("{")
    (tmp_path / "1-b.counters").write_text('{"sums": [[1]], "times": [], "calls": []}')
    (tmp_path / "1-c.counters").write_text("[]")
    (tmp_path / "1-d.counters").mkdir()
    counters = RequestCounters()
    files.add_others(counters)
    assert count_requests(counters) == 0
    assert caplog.text.count("left out") >= 3
