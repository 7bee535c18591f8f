"""`list_keys`: list the API keys, by their beginnings."""

import json
from argparse import ArgumentParser
from typing import Any

from api.limits.limit_texts import describe_limits
from api.models import ApiKey
from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_user, write_table
from providers.protocol.json_types import JsonObject

TABLE_HEAD = ("KEY", "USER", "NAME", "STATE", "MODELS", "LIMITS", "LAST USED")


class Command(GatewayCommand):
    help = "List the API keys with their users, rights and limits; no key is shown whole."
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", metavar="NAME", help="only the keys of this user")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, user: str | None, **options: Any) -> None:
        rows = ApiKey.objects.select_related("user").prefetch_related("limit_sets")
        if user is not None:
            rows = rows.filter(user=find_user(user))
        entries = [make_entry(key) for key in rows]
        if options["format"] == "json":
            self.stdout.write(json.dumps(entries))
        elif entries:
            write_table(self.stdout, [TABLE_HEAD, *map(make_table_row, entries)])
        else:
            self.stdout.write("No keys yet: issue_key makes them.")


def find_state(key: ApiKey) -> str:
    """Return the state of a key in a word or two."""
    if key.revoked_at is not None:
        return "revoked"
    if key.is_expired:
        return "expired"
    return "valid" if key.user.is_active else "user inactive"


def make_entry(key: ApiKey) -> JsonObject:
    """Return the facts of a key."""
    limits = [row for row in key.limit_sets.all() if not row.for_each_end_user]
    return {
        "prefix": key.prefix,
        "user": str(key.user),
        "name": key.name,
        "state": find_state(key),
        "models": key.allowed_models,
        "default_model": key.default_model,
        "limits": describe_limits(vars(limits[0])) if limits else "",
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
    }


def make_table_row(entry: JsonObject) -> tuple[str, ...]:
    """Return the cells of a key's line, as TABLE_HEAD names them."""
    return (
        f"{entry['prefix']}…",
        entry["user"],
        entry["name"] or "-",
        entry["state"],
        ", ".join(entry["models"]) or "all",
        entry["limits"] or "-",
        (entry["last_used_at"] or "never")[:16].replace("T", " "),
    )
