"""The admin of providers, models, aliases and deletions, and the parts that all admins share."""

from providers.admin import deletion_admin, models_admin, provider_admin

__all__ = ["deletion_admin", "models_admin", "provider_admin"]
