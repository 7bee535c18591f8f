"""The command `list_tokens`: list tokens with their state, masked."""

import json
from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from providers.management.base import GatewayCommand
from providers.management.command_helpers import write_table
from tokens.admin.token_columns import find_last_check
from tokens.admin.token_state import describe_state
from tokens.management.token_selection import add_selection_arguments, select_tokens
from tokens.models import UpstreamToken

DEFAULT_LIMIT = 100
HEAD = ("token", "provider", "state", "failures", "strikes", "requests", "last check", "reason")


class Command(GatewayCommand):
    help = "List tokens with their state; secrets are masked."
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("provider", nargs="?", help="only this provider's")
        add_selection_arguments(parser)
        parser.add_argument(
            "--limit",
            type=int,
            default=DEFAULT_LIMIT,
            metavar="N",
            help=f"at most so many, 0: all (default: {DEFAULT_LIMIT})",
        )
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, provider: str | None, **options: Any) -> None:
        tokens = select_tokens(provider, options)
        total = tokens.count()
        shown = tokens.select_related("provider", "last_check").order_by("created_at", "pk")
        if options["limit"] > 0:
            shown = shown[: options["limit"]]
        if options["format"] == "json":
            entries = [describe_token(token) for token in shown.iterator()]
            self.stdout.write(json.dumps({"total": total, "tokens": entries}))
            return
        lines = [make_line(token) for token in shown.iterator()]
        if lines:
            write_table(self.stdout, [HEAD, *lines])
        hidden = total - len(lines)
        rest = f", {hidden} of them not shown (--limit 0 shows all)" if hidden else ""
        self.stdout.write(f"{total} {'token' if total == 1 else 'tokens'}{rest}.")


def describe_token(token: UpstreamToken) -> dict[str, object]:
    """Return a token as JSON, without its secret."""
    check = find_last_check(token)
    return {
        "id": str(token.pk),
        "token": token.masked,
        "provider": token.provider.name,
        "label": token.label,
        "kind": token.kind,
        "state": describe_state(token, timezone.now())[1].split()[0],
        "reason": token.reason,
        "strikes": token.strikes,
        "requests": token.requests,
        "failures": token.failures,
        "rests_until": token.rests_until and token.rests_until.isoformat(),
        "expires_at": token.expires_at and token.expires_at.isoformat(),
        "last_used_at": token.last_used_at and token.last_used_at.isoformat(),
        "last_check": check and {"at": check.at.isoformat(), "outcome": check.outcome},
        "created_at": token.created_at.isoformat(),
    }


def make_line(token: UpstreamToken) -> tuple[str, ...]:
    check = find_last_check(token)
    return (
        token.masked,
        token.provider.name,
        describe_state(token, timezone.now())[1],
        str(token.failures),
        str(token.strikes),
        str(token.requests),
        check.outcome if check is not None else "-",
        token.reason[:60],
    )
