"""The command `reset_tokens`: make tokens active again, without strikes and cooldowns."""

from argparse import ArgumentParser
from typing import Any

from django.db.models import Q

from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_provider
from tokens.models import State, UpstreamToken


class Command(GatewayCommand):
    help = "Enable tokens, also those that a person disabled, and end their strikes and cooldowns."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("provider", nargs="?", help="only this provider's")
        parser.add_argument("--dry-run", action="store_true", help="count, change nothing")

    def handle(self, *args: Any, provider: str | None, dry_run: bool, **options: Any) -> None:
        tokens = UpstreamToken.objects.filter(
            ~Q(state=State.ACTIVE) | Q(strikes__gt=0) | Q(rests_until__isnull=False)
        )
        if provider is not None:
            tokens = tokens.filter(provider=find_provider(provider))
        count = tokens.count() if dry_run else tokens.reset_state()
        noun = "token" if count == 1 else "tokens"
        self.stdout.write(f"{count} {noun} {'would be reset' if dry_run else 'reset'}.")
