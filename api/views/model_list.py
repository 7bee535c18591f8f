"""/v1/models: the models that the caller's key may use."""

from typing import Any, cast

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from api.authentication import Caller
from api.views.base import ApiView
from providers.exceptions import ModelNotFound
from providers.models import ChatModel, ModelAlias, VirtualModel


def list_model_objects(caller: Caller) -> dict[str, dict[str, Any]]:
    """Return OpenAI's model objects by id, sorted, with aliases among them."""
    found: dict[str, dict[str, Any]] = {}
    models = ChatModel.objects.served().select_related("provider")
    for model in models.filter(provider__name=caller.provider) if caller.provider else models:
        if model.public_id not in found:
            found[model.public_id] = {
                "id": model.public_id,
                "object": "model",
                "created": int(model.created_at.timestamp()),
                "owned_by": model.provider.name,
                "context_window": model.context_window,
                "capabilities": model.capabilities,
            }
    for virtual in VirtualModel.objects.filter(enabled=True):
        if virtual.base in found:
            below = found[virtual.base] | {"created": int(virtual.created_at.timestamp())}
            found.setdefault(
                virtual.public_id, below | {"id": virtual.public_id, "strategy": virtual.strategy}
            )
    for alias in ModelAlias.objects.all():
        if alias.public_id in found:
            found.setdefault(
                alias.alias, found[alias.public_id] | {"id": alias.alias, "root": alias.public_id}
            )
    return {
        name: found[name]
        for name in sorted(found)
        if caller.can_use_model(name, str(found[name].get("root", name)))
    }


class HasCaller(BasePermission):
    """A permission for callers with an API key, or with upstream tokens of their own."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.auth, Caller)


class ModelList(ApiView):
    permission_classes = (HasCaller,)

    def get(self, request: Request) -> Response:
        return Response(
            {
                "object": "list",
                "data": list(list_model_objects(cast(Caller, request.auth)).values()),
            }
        )


class ModelDetail(ApiView):
    permission_classes = (HasCaller,)

    def get(self, request: Request, model: str) -> Response:
        found = list_model_objects(cast(Caller, request.auth)).get(model)
        if found is None:
            raise ModelNotFound(
                f"The model {model!r} does not exist or you have no access to it.", param="model"
            )
        return Response(found)
