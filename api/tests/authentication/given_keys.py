"""Keys, and the headers with which a request carries them."""

from typing import Any

from django.contrib.auth import get_user_model

from api import keys
from api.models import ApiKey


def headers(authorization: str | None = None, x_api_key: str | None = None) -> dict[str, Any]:
    found = {"HTTP_AUTHORIZATION": authorization, "HTTP_X_API_KEY": x_api_key}
    return {name: value for name, value in found.items() if value is not None}


def create_key_headers(name: str = "alice", **fields: Any) -> tuple[ApiKey, dict[str, Any]]:
    user, _ = get_user_model().objects.get_or_create(username=name)
    row, key = keys.create_key(user, **fields)
    return row, headers(f"Bearer {key}")
