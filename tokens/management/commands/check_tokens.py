"""The command `check_tokens`: check which tokens still work."""

import json
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_provider
from tokens.maintenance import token_check
from tokens.models import UpstreamToken
from tokens.secret_check import require_secrets


class Command(GatewayCommand):
    help = (
        "Ask the upstreams about every token: a rejected one gets a strike, one that works is "
        "enabled unless a person switched it off."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("provider", nargs="?", help="only this provider's")
        parser.add_argument("--dry-run", action="store_true", help="ask and report, change nothing")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, provider: str | None, dry_run: bool, **options: Any) -> None:
        require_secrets()
        tokens = UpstreamToken.objects.all()
        if provider is not None:
            tokens = tokens.filter(provider=find_provider(provider))
        counts: Counter[str] = Counter()
        lines = []
        for finding in token_check.check_upstream_tokens(tokens, dry_run=dry_run):
            counts[finding.outcome] += 1
            token = finding.token
            if options["format"] == "json":
                lines.append(
                    {
                        "id": str(token.pk),
                        "provider": token.provider.name,
                        "token": token.masked,
                        "outcome": finding.outcome,
                        "reason": finding.reason,
                        "change": finding.change,
                    }
                )
            elif finding.outcome != token_check.WORKS or finding.change:
                self.stdout.write(f"{token.provider} {token.masked}: {finding}")
        if options["format"] == "json":
            self.stdout.write(json.dumps({"counts": counts, "tokens": lines}))
            return
        self.stdout.write(token_check.summarize_outcomes(counts) or "No tokens.")
