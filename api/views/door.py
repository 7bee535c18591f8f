"""What all DRF doors under /v1/ have in common."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.exceptions import request_id


class Door(APIView):
    """A view whose answers have a request id and are kept by no cache."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        final: Response = super().finalize_response(request, response, *args, **kwargs)
        final.headers.setdefault("x-request-id", request_id(request._request))
        final["cache-control"] = "no-store"
        final["vary"] = "Authorization"
        return final
