"""Rows become counters, whose number is bounded, and which other processes can add to theirs."""

import pytest

from api.accounting.usage_table import COLUMNS
from api.metrics.request_counters import BOUNDS_MS, OTHER, RequestCounters


def make_row(**values):
    row = dict.fromkeys(COLUMNS) | {
        "endpoint": "chat/completions",
        "model": "m",
        "provider_id": 1,
        "status": "complete",
        "http_status": 200,
        "error_code": "",
        "attempts": [],
        "request_count": 1,
    }
    return list((row | values).values())


def test_rows_are_added_up_by_their_labels():
    counters = RequestCounters()
    rows = [make_row(prompt_tokens=3, cost_micro_usd=5), make_row(prompt_tokens=4)]
    counters.add_rows([*rows, make_row(model="n", request_count=7)])
    labels = ("chat/completions", "m", 1, "complete", 200, "")
    assert counters.sums[labels] == [2, 7, 0, 0, 0, 5]
    assert counters.sums["chat/completions", "n", 1, "complete", 200, ""][0] == 7


@pytest.mark.parametrize(
    ("milliseconds", "bucket"), [(0, 0), (5, 0), (5.1, 1), (300_000, 13), (10**9, len(BOUNDS_MS))]
)
def test_a_time_is_counted_in_the_bucket_that_it_does_not_exceed(milliseconds, bucket):
    counters = RequestCounters()
    counters.add_rows([make_row(total_ms=milliseconds)])
    (times,) = counters.times.values()
    assert [index for index, count in enumerate(times.buckets) if count] == [bucket]
    assert times.sum_ms == [milliseconds]


def test_calls_of_upstreams_are_counted_without_candidates_that_were_skipped():
    attempts = [
        {"provider": "a", "outcome": "failed"},
        {"provider": "b", "outcome": "skipped"},
        {"provider": "a", "outcome": "complete"},
    ]
    counters = RequestCounters()
    counters.add_rows([make_row(attempts=attempts), make_row(attempts=attempts[:1])])
    assert counters.calls == {("a", "failed"): 2, ("a", "complete"): 1}


def test_models_beyond_the_bound_share_a_label(settings):
    settings.METRICS_SERIES = 3
    counters = RequestCounters()
    counters.add_rows([make_row(model=f"made-up-{number}") for number in range(50)])
    models = {labels[1]: sums[0] for labels, sums in counters.sums.items()}
    assert models == {"made-up-0": 1, "made-up-1": 1, "made-up-2": 1, OTHER: 47}


def test_another_process_adds_the_same_counters():
    counters = RequestCounters()
    counters.add_rows(
        [
            make_row(
                total_ms=7, first_byte_ms=3, attempts=[{"provider": "a", "outcome": "failed"}]
            ),
            make_row(model="n", completion_tokens=9),
        ]
    )
    other = RequestCounters()
    other.add_json(counters.as_json())
    assert other.as_json() == counters.as_json()
    other.add_json(counters.as_json())
    assert sum(sums[0] for sums in other.sums.values()) == 4
    assert other.calls == {("a", "failed"): 2}


@pytest.mark.parametrize("name", ["sums", "times"])
def test_counters_of_another_release_are_refused(name):
    counters = RequestCounters()
    counters.add_rows([make_row(total_ms=7)])
    found = counters.as_json()
    found[name][0].append(1)
    with pytest.raises(ValueError, match="another release"):
        RequestCounters().add_json(found)
