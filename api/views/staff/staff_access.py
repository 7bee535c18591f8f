"""The shared part of the staff endpoints under /admin/: access, answers and the provider meant.

A member of staff shows an API key, or the session of Django's admin (then POST needs the CSRF
token). Reading needs Django's permission to view the rows, a change the permission for that change.
A request that cannot be carried out gets 400 with {"status": "error", "message"}, or 503 when the
worker's queue is away. A caller without access gets OpenAI's error object. `?provider=NAME` (or
"provider" in the body) names the provider. Without it the provider is TOKENS_PROVIDER, else the
K2Think one, else the only one with tokens, else the only one.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, AnonymousUser
from rest_framework import exceptions as drf
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from api.authentication import INVALID_KEY_TEXT, KeyAuthentication, has_credential
from api.relay.gateway import GATEWAY_SCOPE_KEY, Gateway
from api.views.base import ApiView
from providers.exceptions import Forbidden, InvalidKey, ShuttingDown
from providers.models import Provider
from providers.protocol.json_types import JsonObject
from tokens.maintenance.check_now import WorkerUnreachable
from tokens.models import UpstreamToken

K2THINK_PREFIX = "k2think"  # prefix of the kinds of the K2Think adapters
CHANGE_TOKENS = "tokens.change_upstreamtoken"
ADD_TOKENS = "tokens.add_upstreamtoken"
TOKEN_MODEL = "tokens.upstreamtoken"  # noqa: S105 - no password
PROVIDER_MODEL = "providers.provider"
CHANGE_PROVIDER = "providers.change_provider"


class InvalidStaffRequest(Exception):
    """The request cannot be carried out; the message says why and is sent with status 400."""


# --- access ---------------------------------------------------------------------------------------
class KeyOrSessionAuthentication(KeyAuthentication):
    """DRF authentication by an API key if one is shown, else by the session of Django's admin.

    POSTs with a session need the CSRF token.
    """

    def authenticate(self, request: Request) -> Any:
        if has_credential(request.META):
            user, caller = super().authenticate(request)
            if not user.is_authenticated:  # a caller's own upstream tokens give no access
                raise InvalidKey(INVALID_KEY_TEXT)
            if caller.allowed_models:
                raise Forbidden(
                    "This API key is for some models only, not for the staff endpoints.",
                    code="permission_denied",
                )
            return user, caller
        try:
            user_and_auth = SessionAuthentication().authenticate(request)
        except drf.PermissionDenied as error:
            raise Forbidden(str(error.detail), code="permission_denied") from None
        if user_and_auth is None:
            raise InvalidKey("Show the API key of a member of staff, or sign in at /admin/.")
        return user_and_auth


def can_view_models(user: AbstractUser | AnonymousUser, *models: str) -> bool:
    """Return whether a member of staff may view rows of all these models, each `app.model`.

    A permission to change them is enough.
    """
    if not (user.is_active and user.is_staff):
        return False
    pairs = (model.split(".") for model in models)
    return all(
        user.has_perm(f"{app}.view_{name}") or user.has_perm(f"{app}.change_{name}")
        for app, name in pairs
    )


class StaffPermission(BasePermission):
    """A permission to read or change, as in Django's admin.

    Reading needs the permission to view the rows, a change the view's `post_permission`.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        user = request.user
        if request.method in SAFE_METHODS:
            return can_view_models(user, *view.viewed_models)
        return bool(user.is_staff and user.has_perm(view.post_permission))


class StaffView(ApiView):
    """A view for staff.

    `post_permission` is the permission that its POST needs, `viewed_models` the models whose rows
    its GET shows.
    """

    authentication_classes = [KeyOrSessionAuthentication]
    permission_classes = [StaffPermission]
    post_permission: ClassVar[str] = CHANGE_TOKENS
    viewed_models: ClassVar[tuple[str, ...]] = (TOKEN_MODEL,)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, InvalidStaffRequest):
            return Response({"status": "error", "message": str(exc)}, status=400)
        if isinstance(exc, WorkerUnreachable):
            return Response({"status": "error", "message": str(exc)}, status=503)
        return super().handle_exception(exc)


def render_success(message: str, **more: object) -> Response:
    return Response({"status": "success", "message": message, **more})


# --- body and provider of a request ---------------------------------------------------------------
def read_staff_body(request: Request) -> JsonObject:
    """Return the JSON object that was sent, or {} when nothing was.

    Raises InvalidStaffRequest.
    """
    if request.method in SAFE_METHODS or not request.META.get("CONTENT_LENGTH"):
        return {}
    if not isinstance(request.data, dict):
        raise InvalidStaffRequest("Send a JSON object.")
    return request.data


def read_provider_name(request: Request) -> str:
    """Return the provider name in the address or the body, or an empty string.

    Raises InvalidStaffRequest.
    """
    name = request.query_params.get("provider") or read_staff_body(request).get("provider") or ""
    if not isinstance(name, str):
        raise InvalidStaffRequest("“provider” is the name of a provider.")
    return name


def find_requested_provider(request: Request) -> Provider:
    """Return the provider that the request is about.

    Raises InvalidStaffRequest when the request names none and there is no default.
    """
    name = read_provider_name(request)
    if name:
        provider = Provider.objects.filter(name=name).first()
        if provider is None:
            raise InvalidStaffRequest(f"There is no provider {name!r}.")
        return provider
    providers = list(Provider.objects.order_by("name"))
    default = find_default_provider(providers)
    if default is None:
        names = ", ".join(provider.name for provider in providers) or "none"
        raise InvalidStaffRequest(f"Say which provider, as ?provider=NAME; there are: {names}.")
    return default


def find_default_provider(providers: Sequence[Provider]) -> Provider | None:
    """Return the provider for requests that name none, or None when several are possible.

    It is TOKENS_PROVIDER, else the first K2Think one, else the only one with tokens, else the only
    one.
    """
    ids_with_tokens = set(
        UpstreamToken.objects.order_by().values_list("provider_id", flat=True).distinct()
    )
    candidate_lists = (
        [provider for provider in providers if provider.name == settings.TOKENS_PROVIDER],
        [provider for provider in providers if provider.kind.startswith(K2THINK_PREFIX)][:1],
        [provider for provider in providers if provider.pk in ids_with_tokens],
        providers,
    )
    for candidates in candidate_lists:
        if len(candidates) == 1:
            return candidates[0]
    return None


def find_running_gateway(request: Request) -> Gateway:
    """Return the gateway of the process that serves this request.

    Raises ShuttingDown when it has none.
    """
    gateway = getattr(request._request, "scope", {}).get(GATEWAY_SCOPE_KEY)
    if not isinstance(gateway, Gateway):
        raise ShuttingDown("No gateway runs in this process.")
    return gateway
