"""/v1/models: the models that the caller's key may use.

Clients of Anthropic's API get them in its form (`api/views/messages/model_pages.py`).
"""

from typing import cast

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from api.authentication import Caller
from api.relay.gateway import GATEWAY_SCOPE_KEY, Gateway
from api.views.base import ApiView
from api.views.messages.model_pages import (
    is_anthropic_client,
    render_model_info,
    render_model_page,
)
from api.views.model_catalogue.model_objects import list_model_objects
from providers.exceptions import ModelNotFound
from providers.protocol.json_types import JsonObject


def find_gateway(request: Request) -> Gateway | None:
    """Return the gateway of this process, None where a request came without its server."""
    gateway: Gateway | None = getattr(request._request, "scope", {}).get(GATEWAY_SCOPE_KEY)
    return gateway


def list_caller_models(request: Request) -> dict[str, JsonObject]:
    """Return the objects of the models that the caller of the request may use, by id."""
    return list_model_objects(cast(Caller, request.auth), find_gateway(request))


class HasCaller(BasePermission):
    """A permission for callers with an API key, or with upstream tokens of their own."""

    def has_permission(self, request: Request, view: object) -> bool:
        return isinstance(request.auth, Caller)


class ModelList(ApiView):
    permission_classes = (HasCaller,)

    def get(self, request: Request) -> Response:
        objects = list(list_caller_models(request).values())
        if is_anthropic_client(request._request):
            return Response(render_model_page(objects, request.query_params))
        return Response({"object": "list", "data": objects})


class ModelDetail(ApiView):
    permission_classes = (HasCaller,)

    def get(self, request: Request, model: str) -> Response:
        model_object = list_caller_models(request).get(model)
        if model_object is None:
            raise ModelNotFound(
                f"The model {model!r} does not exist or you have no access to it.", param="model"
            )
        if is_anthropic_client(request._request):
            return Response(render_model_info(model_object))
        return Response(model_object)
