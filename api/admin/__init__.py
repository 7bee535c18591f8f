"""The admin of API keys, prices and usage records."""

from api.admin import key_admin, price_admin, usage_admin

__all__ = ["key_admin", "price_admin", "usage_admin"]
