"""The admin of API keys, invitations, teams, prices, requests and alerts, and page parts."""

from api.admin import (
    alert_admin,
    batch_admin,
    conversation_costs,
    invitation_admin,
    key_admin,
    pool_parts,
    price_admin,
    team_admin,
)
from api.admin.requests import request_admin

__all__ = [
    "alert_admin",
    "batch_admin",
    "conversation_costs",
    "invitation_admin",
    "key_admin",
    "pool_parts",
    "price_admin",
    "request_admin",
    "team_admin",
]
