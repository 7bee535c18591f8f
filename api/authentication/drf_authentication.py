"""The authentication classes of DRF views."""

from typing import Any, cast

from django.contrib.auth.models import AnonymousUser, User
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from api import keys
from api.authentication import credentials
from api.authentication.caller import Caller
from api.limits.access import find_access_refusal


class KeyAuthentication(BaseAuthentication):
    """DRF authentication by an API key: `request.user` is its user, `request.auth` the Caller."""

    def authenticate(self, request: Request) -> tuple[User | AnonymousUser, Caller]:
        key = credentials.read_credential(request.META)
        caller = credentials.load_caller(keys.digest_key(key))
        if caller is None:
            return AnonymousUser(), credentials.make_passthrough_caller(key)
        if caller.limits is not None:
            refusal = find_access_refusal(caller.limits, request._request)
            if refusal is not None:
                raise refusal.error
        return User.objects.get(pk=cast(int, caller.user_id)), caller

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class StaffAuthentication(BaseAuthentication):
    """DRF authentication of signed-in staff (session cookie); others are left to the next class."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        user = getattr(request._request, "user", None)
        if user is None or not user.is_active or not user.is_staff:
            return None
        return user, None
