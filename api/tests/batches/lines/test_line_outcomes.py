"""What the answers to lines mean, and how results look."""

import json

import pytest

from api.batches.lines.line_outcomes import (
    Outcome,
    classify_answer,
    make_answer_result,
    make_line_id,
    read_usage,
)
from api.batches.lines.line_request import LineAnswer
from api.batches.part_files import ERROR, OUTPUT, LineUsage


def make_answer(status, code=None, *, is_final=False):
    body = {"error": {"message": "x", "code": code}} if code else {"object": "x"}
    return LineAnswer(status, json.dumps(body).encode(), "req_1", is_final=is_final)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (make_answer(200), Outcome.DONE),
        (make_answer(400, "invalid_value"), Outcome.DONE),
        (make_answer(403, "model_not_allowed"), Outcome.DONE),
        (make_answer(429, "rate_limit_exceeded"), Outcome.WAIT),
        (make_answer(429, "insufficient_quota", is_final=True), Outcome.NO_MONEY),
        (make_answer(401, "invalid_api_key"), Outcome.NO_KEY),
        (make_answer(503, "database_unavailable"), Outcome.WAIT),
        (make_answer(503, "server_shutdown"), Outcome.WAIT),
        (make_answer(503, "no_available_token"), Outcome.RETRY),
        (make_answer(503, "no_upstream_token", is_final=True), Outcome.DONE),
        (make_answer(502, "upstream_failed"), Outcome.RETRY),
        (make_answer(504, "upstream_timeout"), Outcome.RETRY),
        (LineAnswer(500, b"no json", "req_1"), Outcome.RETRY),
    ],
)
def test_an_answer_means(answer, outcome):
    assert classify_answer(answer) is outcome


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            LineUsage(10, 4, 5, 3),
        ),
        (
            {
                "input_tokens": 10,
                "output_tokens": 5,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 3},
            },
            LineUsage(10, 4, 5, 3),
        ),
        (
            {"input_tokens": 6, "output_tokens": 5, "cache_read_input_tokens": 4},
            LineUsage(10, 4, 5, 0),
        ),
        (None, LineUsage()),
    ],
)
def test_tokens_are_read_in_the_words_of_every_endpoint(usage, counted):
    assert read_usage(json.dumps({"usage": usage}).encode()) == counted


def test_a_result_is_one_line_of_json():
    line_id = make_line_id("batch_0123456789abcdef0123456789abcdef", 255)
    answer = LineAnswer(200, b'{\n "object": "x"\n}', "req_1")
    result = make_answer_result(line_id, 255, "a\nb", answer)
    assert (result.position, result.kind) == (255, OUTPUT)
    assert b"\n" not in result.text
    assert json.loads(result.text) == {
        "id": "batch_req_0123456789abcdef000000ff",
        "custom_id": "a\nb",
        "response": {"status_code": 200, "request_id": "req_1", "body": {"object": "x"}},
        "error": None,
    }
    assert make_answer_result(line_id, 1, "a", make_answer(404, "x")).kind == ERROR
