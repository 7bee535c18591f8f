"""Samples of several processes become one view; rows are bounded, counts are not."""

from proxysite.desk.live.merged_view import RATE_SECONDS, SAMPLE_SECONDS, MergedView


def make_row(number, **fields):
    started_at = f"2026-01-01T00:00:{number:02}"
    return {"id": f"req_{number}", "started_at": started_at, "request_count": 1} | fields


def make_sample(running=(), finished=(), finished_count=None, **counts):
    return {
        "counts": {"waiting": 0, "asked": len(running), "streaming": 0} | counts,
        "running": list(running),
        "finished": list(finished),
        "finished_count": len(finished) if finished_count is None else finished_count,
    }


def test_running_requests_of_all_processes_are_listed_oldest_first():
    view = MergedView(10)
    view.add_sample("a", make_sample([make_row(3), make_row(5)]), 0.0)
    view.add_sample("b", make_sample([make_row(4)]), 0.0)
    assert [row["id"] for row in view.list_running()] == ["req_3", "req_4", "req_5"]
    assert view.count_states() == {"waiting": 0, "asked": 3, "streaming": 0}
    assert view.process_count == 2


def test_of_too_many_running_requests_the_oldest_and_the_newest_are_listed():
    view = MergedView(4)
    view.add_sample("a", make_sample([make_row(number) for number in range(10)]), 0.0)
    assert [row["id"] for row in view.list_running()] == ["req_0", "req_1", "req_8", "req_9"]
    assert view.count_states()["asked"] == 10


def test_a_process_that_sends_no_sample_any_more_is_forgotten():
    view = MergedView(10)
    view.add_sample("a", make_sample([make_row(1)]), 0.0)
    view.add_sample("b", make_sample([make_row(2)]), SAMPLE_SECONDS)
    view.drop_old_samples(SAMPLE_SECONDS + 0.1)
    assert [row["id"] for row in view.list_running()] == ["req_2"]


def test_finished_requests_are_new_once_and_those_left_out_are_counted():
    view = MergedView(2)
    view.add_sample("a", make_sample(finished=[make_row(2), make_row(3)], finished_count=7), 0.0)
    view.add_sample("b", make_sample(finished=[make_row(1)]), 0.0)
    rows, more = view.take_new_finished()
    assert len(rows) == 2
    assert more == 6
    assert view.take_new_finished() == ([], 0)
    assert list(view.finished) == rows


def test_refused_requests_that_one_row_stands_for_are_not_counted_twice():
    view = MergedView(5)
    row = make_row(1, request_count=40)
    view.add_sample("a", make_sample(finished=[row], finished_count=40), 0.0)
    assert view.take_new_finished() == ([row], 0)


def test_earlier_requests_stand_before_those_that_finished_since():
    view = MergedView(3)
    view.add_sample("a", make_sample(finished=[make_row(9)]), 0.0)
    view.take_new_finished()
    view.add_history([make_row(1), make_row(2), make_row(3), make_row(9)])
    assert [row["id"] for row in view.finished] == ["req_2", "req_3", "req_9"]


def test_the_rate_is_the_mean_of_the_last_seconds():
    view = MergedView(3)
    for second in range(30):
        view.add_sample("a", make_sample(finished_count=5), float(second))
    assert 4.9 <= view.compute_rate(29.0) <= 5.5
    view.add_sample("a", make_sample(), 29.0 + 2 * RATE_SECONDS)
    assert view.compute_rate(29.0 + 2 * RATE_SECONDS) == 0
