"""Decide whether the answer to a line is its result, and render the lines of result files."""

from enum import Enum
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from api.batches.lines.input_lines import LineProblem
from api.batches.lines.line_request import LineAnswer
from api.batches.part_files import ERROR, NO_USAGE, OUTPUT, LineResult, LineUsage

SUCCESS = 200
BUSY_STATUSES = (408, 409, 425, 500, 502, 503, 504)  # the same line may succeed later
OWN_ERROR_CODES = ("database_unavailable", "too_many_requests_in_flight", "server_shutdown")


class Outcome(Enum):
    """The next step for a line and its batch after an answer."""

    DONE = "the answer is the line's result"
    WAIT = "a limit, or trouble of this gateway: the line waits, however often"
    RETRY = "an upstream failed: the line is asked again, a few times"
    NO_MONEY = "a budget is spent: the batch waits for money"
    NO_KEY = "the key is not valid any more: the batch ends"


class ErrorFields(Struct):
    """The field of an error that is read."""

    code: Any = None


class ErrorBody(Struct):
    """The body of an answer with an error."""

    error: ErrorFields | None = None


class TokenDetails(Struct):
    """The parts of a sum of tokens."""

    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Usage(Struct):
    """The tokens of an answer in the words of all endpoints."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    prompt_tokens_details: TokenDetails | None = None
    completion_tokens_details: TokenDetails | None = None
    input_tokens_details: TokenDetails | None = None
    output_tokens_details: TokenDetails | None = None


class AnswerBody(Struct):
    """The field of an answer that is read."""

    usage: Usage | None = None


def classify_answer(answer: LineAnswer) -> Outcome:
    """Return the next step after the answer to a line."""
    if answer.status == SUCCESS:
        return Outcome.DONE
    code = answer.error_code or read_error_code(answer.body)
    if code == "insufficient_quota":
        return Outcome.NO_MONEY
    if answer.status == 401 and code == "invalid_api_key":
        return Outcome.NO_KEY
    if answer.status == 429 or code in OWN_ERROR_CODES:
        return Outcome.WAIT
    if answer.status in BUSY_STATUSES and not answer.is_final:
        return Outcome.RETRY
    return Outcome.DONE


def read_error_code(body: bytes) -> str:
    """Return the code of an error, or an empty string."""
    try:
        error = msgspec.json.decode(body, type=ErrorBody).error
    except msgspec.DecodeError:
        return ""
    return str(error.code) if error is not None and error.code else ""


def read_usage(body: bytes) -> LineUsage:
    """Return the tokens that an answer names."""
    try:
        usage = msgspec.json.decode(body, type=AnswerBody).usage
    except msgspec.DecodeError:
        return NO_USAGE
    if usage is None:
        return NO_USAGE
    input_details = usage.prompt_tokens_details or usage.input_tokens_details or TokenDetails()
    output_details = (
        usage.completion_tokens_details or usage.output_tokens_details or TokenDetails()
    )
    input_tokens = usage.prompt_tokens or usage.input_tokens or 0
    # Anthropic does not count cached tokens among its input tokens
    input_tokens += usage.cache_read_input_tokens or 0
    input_tokens += usage.cache_creation_input_tokens or 0
    return LineUsage(
        input_tokens,
        input_details.cached_tokens or usage.cache_read_input_tokens or 0,
        usage.completion_tokens or usage.output_tokens or 0,
        output_details.reasoning_tokens or 0,
    )


def make_line_id(batch_id: str, position: int) -> str:
    """Return the id of a line's result; it is the same however often the line is asked."""
    return f"batch_req_{batch_id.removeprefix('batch_')[:16]}{position:08x}"


def make_answer_result(
    line_id: str, position: int, custom_id: str, answer: LineAnswer
) -> LineResult:
    """Return an answer as the result of its line, for the output file or the error file."""
    body = answer.body
    if b"\n" in body:
        body = orjson.dumps(orjson.loads(body))
    head = orjson.dumps({"id": line_id, "custom_id": custom_id})[:-1]
    response = orjson.dumps({"status_code": answer.status, "request_id": answer.request_id})[:-1]
    text = b'%b,"response":%b,"body":%b},"error":null}' % (head, response, body)
    if answer.status == SUCCESS:
        return LineResult(position, OUTPUT, read_usage(body), text)
    return LineResult(position, ERROR, NO_USAGE, text)


def render_unasked_line(line_id: str, custom_id: str, code: str, message: str) -> bytes:
    """Return the line of the error file for a line that was not asked."""
    error = {"code": code, "message": message}
    return orjson.dumps({"id": line_id, "custom_id": custom_id, "response": None, "error": error})


def make_problem_result(line_id: str, position: int, problem: LineProblem) -> LineResult:
    """Return the result of a line that cannot be read, whose custom_id is not known either."""
    text = render_unasked_line(line_id, "", problem.code, problem.message)
    return LineResult(position, ERROR, NO_USAGE, text)
