"""The command `move_tokens`: move tokens to another provider."""

import json
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import CommandError

from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_provider
from tokens import moving
from tokens.management.token_selection import add_selection_arguments, select_tokens

SLICE = 500  # tokens of one transaction


class Command(GatewayCommand):
    help = (
        "Move tokens of one provider to another, with their secrets; their state begins anew. "
        "Tokens of accounts, and secrets that the other provider has already, stay."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", metavar="FROM", help="the provider that has them now")
        parser.add_argument("target", metavar="TO", help="the provider that gets them")
        add_selection_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="count, change nothing")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, source: str, target: str, **options: Any) -> None:
        tokens = select_tokens(source, options)
        provider = find_provider(target)
        if source == target:
            raise CommandError(f"The tokens of {source} are there already.")
        ids = list(tokens.order_by("created_at", "pk").values_list("pk", flat=True))
        outcomes: Counter[str] = Counter()
        try:
            moving.require_target(provider)
            for start in range(0, len(ids), SLICE):
                part = ids[start : start + SLICE]
                if options["dry_run"]:
                    outcomes.update(moving.plan_moves(part, provider).values())
                else:
                    outcomes += moving.move_tokens(part, provider)
        except moving.TargetRefused as error:
            raise CommandError(str(error)) from None
        self.report_outcomes(outcomes, options)

    def report_outcomes(self, outcomes: Counter[str], options: dict[str, Any]) -> None:
        if options["format"] == "json":
            self.stdout.write(json.dumps({"counts": outcomes, "dry_run": options["dry_run"]}))
            return
        moved = outcomes.pop(moving.MOVED, 0)
        verb = "would be moved" if options["dry_run"] else "moved"
        parts = [f"{moved} {'token' if moved == 1 else 'tokens'} {verb}"]
        parts += [f"{count} stay ({outcome})" for outcome, count in outcomes.items()]
        self.stdout.write(f"{', '.join(parts)}.")
