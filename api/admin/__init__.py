"""The admin of API keys, invitations, teams, prices, usage records and alerts."""

from api.admin import alert_admin, invitation_admin, key_admin, price_admin, team_admin, usage_admin

__all__ = [
    "alert_admin",
    "invitation_admin",
    "key_admin",
    "price_admin",
    "team_admin",
    "usage_admin",
]
