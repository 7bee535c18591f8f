"""The answers of MCP servers: JSON-RPC responses, and the errors that they or HTTP report. No I/O.

Source: the MCP specification, "Messages"; JSON-RPC 2.0, "Response object".
"""

from contextlib import suppress

from providers.exceptions import BadResponse
from providers.protocol.json_types import JsonObject
from providers.wire.json_reader import read_json

SHOWN_CHARS = 500  # of a server's message that an error repeats


class McpError(Exception):
    """A call that failed: `code` is an HTTP status, or a JSON-RPC code when `is_protocol`.

    `status` is the HTTP status in both cases, 0 for an answer with that of a success.
    """

    def __init__(self, message: str, code: int = 0, *, is_protocol: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.is_protocol = is_protocol
        self.status = 0


def require_message(data: bytes, number: int) -> JsonObject:
    """Return the response to request `number`. Raises BadResponse when there is none."""
    message = read_message(data, number)
    if message is None:
        raise BadResponse("The MCP server's answer is no JSON-RPC response.")
    return message


def read_message(data: bytes, number: int) -> JsonObject | None:
    """Return the response to request `number` in the data; None for any other message."""
    try:
        message = read_json(data)
    except ValueError:
        return None
    if not isinstance(message, dict) or message.get("id") not in (number, str(number)):
        return None
    if "result" not in message and "error" not in message:
        return None
    return message


def read_result(message: JsonObject) -> JsonObject:
    """Return the result of a response. Raises McpError when it reports an error."""
    error = message.get("error")
    if error is not None:
        raise make_protocol_error(error)
    result = message["result"]
    return result if isinstance(result, dict) else {}


def make_protocol_error(error: object) -> McpError:
    """Return the error that a JSON-RPC error object reports."""
    fields = error if isinstance(error, dict) else {}
    code = fields.get("code")
    message = str(fields.get("message") or "The MCP server reported an error.")[:SHOWN_CHARS]
    return McpError(message, code if isinstance(code, int) else 0, is_protocol=True)


def make_status_error(status: int, data: bytes) -> McpError:
    """Return the error of an answer with another status than success."""
    with suppress(ValueError):
        message = read_json(data)
        if isinstance(message, dict) and message.get("jsonrpc") and message.get("error"):
            error = make_protocol_error(message["error"])
            error.status = status
            return error
    text = f"The MCP server answered with the status {status}."
    if 300 <= status < 400:
        text = "The MCP server answered with a redirect, which is not followed."
    error = McpError(text, status)
    error.status = status
    return error
