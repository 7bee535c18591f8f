"""The root of all errors that callers get, and the errors that are the gateway's own fault."""

from typing import ClassVar


class GatewayError(Exception):
    """Any error that a caller gets as an OpenAI error object.

    `message` is shown to the caller, so it carries no secret; `param` names the field at fault;
    `retry_after_seconds` becomes `Retry-After`. `is_final`: the same request would fail again, and
    clients are told not to repeat it.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = "internal_error"
    is_final: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.shown_code = code or self.code
        self.shown_status = self.status
        self.retry_after_seconds = retry_after_seconds


class OwnError(GatewayError):
    status = 503


class InternalError(OwnError):
    status = 500


class DatabaseUnavailable(OwnError):
    code = "database_unavailable"


class WebSearchNotConfigured(OwnError):
    status = 501
    code = "web_search_not_configured"
    is_final = True


class Saturated(OwnError):
    code = "too_many_requests_in_flight"


class ShuttingDown(OwnError):
    code = "server_shutdown"
