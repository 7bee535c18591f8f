"""The base of all DRF views under /v1/, and the helpers that several views share."""

from typing import Any, cast

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.authentication import Caller
from api.exceptions import get_request_id
from api.limits.limit_headers import Headers, render_limit_headers
from api.relay.gateway import GATEWAY_SCOPE_KEY
from api.relay.lean_request import LeanRequest
from providers.exceptions import UnsupportedMediaType


class ApiView(APIView):
    """A DRF view whose answers have a request id and are stored by no cache."""

    def finalize_response(
        self,
        request: Request,
        response: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Response:
        """Add the headers that every answer has."""
        final: Response = super().finalize_response(request, response, *args, **kwargs)
        final.headers.setdefault("x-request-id", get_request_id(request._request))
        final["cache-control"] = "no-store"
        final["vary"] = "Authorization"
        for name, value in list_limit_headers(request):
            final.headers[name.decode()] = value.decode()
        return final


def list_limit_headers(request: Request) -> Headers:
    """Return the headers that say what is left of the limits of the request's caller."""
    caller = getattr(request, "_auth", None)  # `auth` would authenticate once more
    gateway = getattr(request._request, "scope", {}).get(GATEWAY_SCOPE_KEY)
    if gateway is None or not isinstance(caller, Caller) or caller.limits is None:
        return []
    return render_limit_headers(gateway.limits, caller.limits)


class SingleFormatNegotiation(BaseContentNegotiation):
    """Content negotiation that answers in the only form there is, whatever the caller accepts.

    OpenAI's own client asks for `application/binary` when it fetches a file.
    """

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the first parser."""
        return parsers[0]

    def select_renderer(
        self,
        request: Request,
        renderers: Any,
        format_suffix: str | None = None,
    ) -> Any:
        """Return the first renderer and its media type."""
        return renderers[0], renderers[0].media_type


def owner_id(request: Request) -> int:
    """Return the id of the user to whom the request's API key belongs."""
    return cast(int, request.user.pk)


def require_storing(request: Request) -> None:
    """Raise Forbidden unless content that is sent with the caller's key may be stored."""
    cast(Caller, request.auth).require_storing()


def require_json(request: LeanRequest) -> None:
    """Raise UnsupportedMediaType unless the content type is JSON, or missing."""
    if request.content_type not in ("application/json", ""):
        raise UnsupportedMediaType("Send the body as application/json.")
