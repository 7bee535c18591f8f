"""/v1/models: the models that the caller's key may use.

Clients of Anthropic's API get them in its form (`api/views/messages/model_pages.py`).
"""

from typing import cast

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from api.authentication import Caller
from api.views.base import ApiView
from api.views.messages.model_pages import (
    is_anthropic_client,
    render_model_info,
    render_model_page,
)
from providers.exceptions import ModelNotFound
from providers.models import ChatModel, ModelAlias, VirtualModel
from providers.protocol.json_types import JsonObject


def list_model_objects(caller: Caller) -> dict[str, JsonObject]:
    """Return OpenAI's model objects by id, sorted, with aliases among them."""
    objects: dict[str, JsonObject] = {}
    models = ChatModel.objects.filter_served().select_related("provider")
    if caller.provider:
        models = models.filter(provider__name=caller.provider)
    for model in models:
        objects.setdefault(model.public_id, render_model(model))
    for virtual in VirtualModel.objects.filter(enabled=True):
        if virtual.base in objects:
            objects.setdefault(
                virtual.public_id,
                objects[virtual.base]
                | {
                    "id": virtual.public_id,
                    "created": int(virtual.created_at.timestamp()),
                    "strategy": virtual.strategy,
                },
            )
    for alias in ModelAlias.objects.all():
        if alias.public_id in objects:
            aliased = objects[alias.public_id]
            objects.setdefault(alias.alias, aliased | {"id": alias.alias, "root": alias.public_id})
    return {
        name: objects[name]
        for name in sorted(objects)
        if caller.can_use_model(name, str(objects[name].get("root", name)))
    }


def render_model(model: ChatModel) -> JsonObject:
    return {
        "id": model.public_id,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": model.provider.name,
        "context_window": model.context_window,
        "capabilities": model.known_capabilities,
    }


class HasCaller(BasePermission):
    """A permission for callers with an API key, or with upstream tokens of their own."""

    def has_permission(self, request: Request, view: object) -> bool:
        return isinstance(request.auth, Caller)


class ModelList(ApiView):
    permission_classes = (HasCaller,)

    def get(self, request: Request) -> Response:
        objects = list_model_objects(cast(Caller, request.auth))
        if is_anthropic_client(request._request):
            return Response(render_model_page(list(objects.values()), request.query_params))
        return Response({"object": "list", "data": list(objects.values())})


class ModelDetail(ApiView):
    permission_classes = (HasCaller,)

    def get(self, request: Request, model: str) -> Response:
        model_object = list_model_objects(cast(Caller, request.auth)).get(model)
        if model_object is None:
            raise ModelNotFound(
                f"The model {model!r} does not exist or you have no access to it.", param="model"
            )
        if is_anthropic_client(request._request):
            return Response(render_model_info(model_object))
        return Response(model_object)
