"""The lines of a batch's input file: read one by one, and checked before any is sent.

A line is `{"custom_id": …, "method": "POST", "url": …, "body": {…}}`. The check reads the file once
as a stream: it keeps 16 bytes of each `custom_id` and no body. Source: OpenAI's API reference, "The
request input object".
"""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
from django.conf import settings
from msgspec import UNSET, Raw, Struct, UnsetType

from providers.protocol.json_types import JsonObject

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOST_ERRORS = 100  # that a failed batch shows
CUSTOM_ID_CHARS = 512
DIGEST_BYTES = 16
METHOD = "POST"


class InputLine(NamedTuple):
    """One line: its position among those that are not blank, from 0, and its number, from 1."""

    position: int
    number: int
    raw: bytes


class LineShape(Struct):
    """The fields of a line, of whatever type."""

    custom_id: Any = UNSET
    method: Any = UNSET
    url: Any = UNSET
    body: Raw | UnsetType = UNSET


class BodyHead(Struct):
    """The fields of a body that the check reads."""

    model: Any = None
    stream: Any = None
    background: Any = None


class LineProblem(Exception):
    """A line that cannot be sent, with OpenAI's names for the reason."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class CheckedLine(NamedTuple):
    """The id and the model of a correct line; no model: the default model of the key."""

    custom_id: str
    model: str


class InputSummary(NamedTuple):
    """The result of the check; `model` is empty where the lines name several."""

    line_count: int
    model: str
    errors: list[JsonObject]


def iterate_lines(file: BinaryIO, first: int = 0) -> Iterator[InputLine]:
    """Yield the lines of a file that are not blank, from the position `first` on.

    A line that is longer than BATCH_LINE_BYTES is yielded with one byte more than that.
    """
    most_bytes = settings.BATCH_LINE_BYTES
    position = 0
    number = 0
    while raw := file.readline(most_bytes + 1):
        number += 1
        if len(raw) > most_bytes and not raw.endswith(b"\n"):
            skip_rest_of_line(file)
        if number == 1:
            raw = raw.removeprefix(BYTE_ORDER_MARK)
        if not raw.strip():
            continue
        if position >= first:
            yield InputLine(position, number, raw)
        position += 1


def skip_rest_of_line(file: BinaryIO) -> None:
    """Read to the end of a line that is too long, in pieces."""
    while (piece := file.readline(settings.BATCH_LINE_BYTES)) and not piece.endswith(b"\n"):
        pass


def parse_line(raw: bytes) -> LineShape:
    """Return the fields of a line. Raises LineProblem."""
    if len(raw.rstrip()) > settings.BATCH_LINE_BYTES:
        most = settings.BATCH_LINE_BYTES
        raise LineProblem("line_too_long", f"A line has at most {most} bytes.")
    try:
        return msgspec.json.decode(raw, type=LineShape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = "This line is not parseable as valid JSON, or is no object."
        raise LineProblem("invalid_json_line", message) from None


def read_custom_id(raw: bytes) -> str:
    """Return the custom_id of a line; empty when the line cannot be read."""
    try:
        return str(parse_line(raw).custom_id)
    except LineProblem:
        return ""


def check_line(raw: bytes, endpoint: str) -> CheckedLine:
    """Return the id and the model of a line of a batch for this endpoint. Raises LineProblem."""
    line = parse_line(raw)
    for name in ("custom_id", "method", "url", "body"):
        if getattr(line, name) is UNSET:
            message = f"Missing required parameter: {name!r}."
            raise LineProblem("missing_required_parameter", message, name)
    if not isinstance(line.custom_id, str) or not 1 <= len(line.custom_id) <= CUSTOM_ID_CHARS:
        message = f"custom_id is a text of 1 to {CUSTOM_ID_CHARS} characters."
        raise LineProblem("invalid_custom_id", message, "custom_id")
    if line.method != METHOD:
        raise LineProblem("invalid_method", "The method of each line is POST.", "method")
    if line.url != endpoint:
        message = f"The url of each line is that of the batch: {endpoint}."
        raise LineProblem("invalid_url", message, "url")
    return CheckedLine(line.custom_id, check_body(line.body))


def check_body(body: Raw | UnsetType) -> str:
    """Return the model that a line's body names. Raises LineProblem."""
    try:
        head = msgspec.json.decode(body or b"", type=BodyHead)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise LineProblem("invalid_type", "The body is a JSON object.", "body") from None
    for name in ("stream", "background"):
        if getattr(head, name):
            message = f"A line of a batch cannot have {name}: true."
            raise LineProblem("unsupported_parameter", message, f"body.{name}")
    return head.model if isinstance(head.model, str) else ""


def check_input_file(path: Path, endpoint: str) -> InputSummary:
    """Check the lines of a batch's input file; return their number, model and errors.

    Stops after MOST_ERRORS errors. Takes seconds for a large file. Raises OSError.
    """
    check = InputCheck(endpoint)
    with path.open("rb") as file:
        for line in iterate_lines(file):
            check.add_line(line)
            if check.is_over:
                break
    return check.summarize()


class InputCheck:
    """The check of one input file; it keeps a digest of each `custom_id` and two models."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._line_count = 0
        self._errors: list[JsonObject] = []
        self._digests: set[bytes] = set()
        self._models: set[str] = set()
        self._has_too_many = False

    @property
    def is_over(self) -> bool:
        """Return whether no more lines need to be read."""
        return self._has_too_many or len(self._errors) >= MOST_ERRORS

    def add_line(self, line: InputLine) -> None:
        """Check the next line, and note its model or its error."""
        self._line_count += 1
        if self._line_count > settings.BATCH_LINES:
            self._has_too_many = True
            message = f"A batch has at most {settings.BATCH_LINES} lines."
            self._errors.append(make_error("too_many_lines", message, line.number))
            return
        try:
            checked = check_line(line.raw, self._endpoint)
            require_new_id(checked.custom_id, self._digests)
        except LineProblem as problem:
            error = make_error(problem.code, problem.message, line.number, problem.param)
            self._errors.append(error)
            return
        if len(self._models) < 2:  # a second one shows that the lines name several
            self._models.add(checked.model)

    def summarize(self) -> InputSummary:
        """Return the result of the check."""
        errors = self._errors
        if not self._line_count:
            errors = [make_error("empty_file", "The file has no lines.")]
        model = ""
        if len(self._models) == 1:
            [model] = self._models
        return InputSummary(self._line_count, model, errors)


def require_new_id(custom_id: str, digests: set[bytes]) -> None:
    """Add the digest of an id to those that are known. Raises LineProblem when it is known."""
    digest = blake2b(custom_id.encode("utf-8", "replace"), digest_size=DIGEST_BYTES).digest()
    if digest in digests:
        message = f"The custom_id {custom_id!r} was used before."
        raise LineProblem("duplicate_custom_id", message, "custom_id")
    digests.add(digest)


def make_error(
    code: str, message: str, line: int | None = None, param: str | None = None
) -> JsonObject:
    """Return an error of a batch in OpenAI's form."""
    return {"code": code, "line": line, "message": message, "param": param}
