"""Errors as answers: a GatewayError becomes OpenAI's error object.

This is the only place for it, for lean views, DRF views and streams alike.
"""

from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from uuid import uuid4

import orjson
from django.core.exceptions import RequestDataTooBig
from django.db import Error as AnyDatabaseError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from rest_framework import exceptions as drf
from rest_framework.response import Response

from api.error_headers import ErrorAnswer, error_headers
from api.messages import error_envelope
from providers.database.database_errors import explain_database_error
from providers.exceptions import (
    MISSING_KEY_TEXT,
    BodyTooLarge,
    Forbidden,
    GatewayError,
    InternalError,
    InvalidJson,
    InvalidKey,
    InvalidRequest,
    MethodNotAllowed,
    UnknownUrl,
    UnsupportedMediaType,
)
from providers.protocol.json_types import JsonObject

Request = TypeVar("Request", bound=HttpRequest)
AnyView = TypeVar("AnyView", bound=Callable[..., object])
# Methods of a view that the lean handler serves: all but OPTIONS, which a middleware answers.
LEAN_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
MODELS_PATH = "/v1/models"  # whose errors have that form for Anthropic's clients
VERSION_HEADER = "HTTP_ANTHROPIC_VERSION"  # which all of these send
MESSAGES_PATH = "/v1/messages"  # of Anthropic's Messages API, which has errors of its own form


def error_body(error: GatewayError) -> JsonObject:
    """Return OpenAI's error object; all four keys are always there."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.shown_code,
        }
    }


def render_error(error: GatewayError, request_id: str, path: str = "") -> HttpResponse:
    """Return the HTTP answer for an error; below MESSAGES_PATH it has Anthropic's form."""
    if path.startswith(MESSAGES_PATH):
        answer = error_envelope.render_envelope(error, request_id)
    else:
        answer = ErrorAnswer(
            orjson.dumps(error_body(error)),
            status=error.shown_status,
            content_type="application/json",
            headers={**error_headers(error), "x-request-id": request_id},
        )
    answer.error_code = str(error.shown_code or "")
    return answer


def render_error_event(error: GatewayError) -> bytes:
    """Return the SSE event of an error in a begun stream, which ends after it, without [DONE]."""
    return b"data: %b\n\n" % orjson.dumps(error_body(error))


def as_gateway_error(error: Exception) -> GatewayError | None:
    """Return an exception of the frameworks as a GatewayError, or None when it is our own fault."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, AnyDatabaseError):
        return explain_database_error(error)
    if isinstance(error, RequestDataTooBig):
        return BodyTooLarge("The request body is too large.")
    if isinstance(error, Http404):
        return UnknownUrl("There is nothing at this address.")
    if isinstance(error, drf.APIException):
        return as_caller_error(error)
    return None


def as_caller_error(error: drf.APIException) -> GatewayError:
    """Return an exception of Django REST framework as a GatewayError."""
    if isinstance(error, drf.MethodNotAllowed):
        return MethodNotAllowed(str(error.detail), "")
    if isinstance(error, drf.UnsupportedMediaType):
        return UnsupportedMediaType(str(error.detail))
    if isinstance(error, drf.ParseError):
        return InvalidJson(str(error.detail))
    if isinstance(error, drf.NotAuthenticated | drf.AuthenticationFailed):
        return InvalidKey(MISSING_KEY_TEXT)
    if isinstance(error, drf.PermissionDenied):
        return Forbidden("You may not do this.", code="permission_denied")
    return InvalidRequest(str(error.detail))


P = ParamSpec("P")
View = Callable[Concatenate[Request, P], Coroutine[Any, Any, HttpResponseBase]]


def api_endpoint(*methods: str) -> Callable[[View[Request, P]], View[Request, P]]:
    """Decorate an async view: only these methods are allowed, and errors become answers.

    GatewayErrors and database errors become answers. The view is marked for the lean handler.
    """

    def decorate_view(view: View[Request, P]) -> View[Request, P]:
        @wraps(view, updated=())
        async def call_view(
            request: Request, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            try:
                if request.method not in methods:
                    raise refuse_method(request, methods)
                return await view(request, *args, **kwargs)
            except (GatewayError, AnyDatabaseError) as error:
                response = render_error(
                    as_gateway_error(error) or InternalError("Something went wrong here."),
                    get_request_id(request),
                    request.path,
                )
                add_limit_headers(response, request)
                return response

        call_view.csrf_exempt = True  # type: ignore[attr-defined]
        return mark_lean(cast(View[Request, P], call_view))

    return decorate_view


def add_limit_headers(response: HttpResponse, request: HttpRequest) -> None:
    """Add the headers that say what is left of the limits of the request's caller."""
    list_headers = getattr(request, "list_limit_headers", None)
    if list_headers is not None:
        for name, value in list_headers():
            response.headers[name.decode()] = value.decode()


def refuse_method(request: HttpRequest, methods: Sequence[str]) -> MethodNotAllowed:
    """Return the error for a method that an endpoint does not take; it names those it takes."""
    allowed = ", ".join(methods)
    return MethodNotAllowed(f"{request.method} is not allowed here, but {allowed}.", allowed)


def mark_lean(view: AnyView) -> AnyView:
    """Mark an async view: the lean handler serves it (`proxysite/server/lean_routes.py`)."""
    view.lean_methods = LEAN_METHODS  # type: ignore[attr-defined]
    return view


def get_request_id(request: HttpRequest) -> str:
    """Return the id of this request, which is the same in headers, logs and ledger."""
    request_id: str | None = getattr(request, "request_id", None)
    return request_id or f"req_{uuid4().hex}"


def rest_framework_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the answer for an error in a DRF view, or None when it is our own fault."""
    gateway_error = as_gateway_error(error)
    if gateway_error is None:
        return None
    request_id = get_request_id(context["request"]._request)
    headers = {**error_headers(gateway_error), "x-request-id": request_id}
    if isinstance(gateway_error, MethodNotAllowed):
        gateway_error = refuse_method(context["request"], context["view"].allowed_methods)
        headers["allow"] = gateway_error.allowed_methods
    body = error_body(gateway_error)
    if VERSION_HEADER in context["request"].META and context["request"].path.startswith(
        MODELS_PATH
    ):
        body = error_envelope.build_envelope(gateway_error, request_id)
        headers["request-id"] = request_id
    return Response(body, status=gateway_error.shown_status, headers=headers)
