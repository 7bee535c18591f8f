"""The admin of providers, models, aliases and deletions, and the parts that all admins share."""

from providers.admin import deletion_admin, models_admin, provider_admin
from providers.admin.mcp import mcp_server_admin

__all__ = ["deletion_admin", "mcp_server_admin", "models_admin", "provider_admin"]
