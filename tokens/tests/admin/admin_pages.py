"""Addresses, forms and actions of the admin of tokens and accounts."""

import base64
import json
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from tokens.models import UpstreamToken

SECRET = "sk-a-secret-that-nobody-may-see-again-0123456789"
OTHER = "sk-another-secret-for-the-same-account-9876543210"
MARKUP = "<script>alert(1)</script>"
PASSWORD = "a-password-that-nobody-may-see-again"
TOKENS = "/admin/tokens/upstreamtoken/"
ACCOUNTS = "/admin/tokens/upstreamaccount/"


def make_token_url(token: UpstreamToken, view: str = "change") -> str:
    return reverse(f"admin:tokens_upstreamtoken_{view}", args=[token.pk])


def make_form(**values: Any) -> dict[str, Any]:
    return {
        "label": "",
        "expires_at_0": "",
        "expires_at_1": "",
        "priority": 0,
        "weight": 1,
        "secret": "",
    } | values


def make_jwt(**claims: Any) -> str:
    """A JSON Web Token with these claims, signed by nobody."""
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({}, claims)
    )
    return ".".join([*parts, "c2lnbmVk"])


def run_action(client: Client, action: str, *rows: UpstreamToken, **more: Any) -> Any:
    posted = {"action": action, "_selected_action": [str(row.pk) for row in rows], "index": 0}
    return client.post(TOKENS, posted | more, follow=True)


def read_traces() -> str:
    """All text that saving in the admin could have left behind."""
    entries = [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    return " ".join([*entries, *(str(session.get_decoded()) for session in Session.objects.all())])
