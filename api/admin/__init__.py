"""The admin of API keys and usage records."""

from api.admin import key_admin, usage_admin

__all__ = ["key_admin", "usage_admin"]
