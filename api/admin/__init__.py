"""The admin of API keys, teams, prices, requests and alerts, and parts of other pages."""

from api.admin import (
    alert_admin,
    conversation_costs,
    key_admin,
    pool_parts,
    price_admin,
    team_admin,
)
from api.admin.requests import request_admin

__all__ = [
    "alert_admin",
    "conversation_costs",
    "key_admin",
    "pool_parts",
    "price_admin",
    "request_admin",
    "team_admin",
]
