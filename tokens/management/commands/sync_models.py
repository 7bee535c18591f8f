"""The command `sync_models`: add the models of the upstream's own list as rows."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from providers import registry
from providers.exceptions import GatewayError
from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_provider
from providers.vault import VaultError
from tokens.maintenance import model_sync
from tokens.secret_check import require_secrets


class Command(GatewayCommand):
    help = (
        "Ask a provider which models it has and add those that are missing; rows that are there "
        "stay as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("provider", help="name of the provider")
        parser.add_argument(
            "--prefix", default="", metavar="P", help="put before each public id, for example groq/"
        )
        parser.add_argument("--dry-run", action="store_true", help="ask and report, write nothing")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, provider: str, prefix: str, dry_run: bool, **options: Any) -> None:
        require_secrets()
        row = find_provider(provider)
        if row.kind not in registry.list_adapter_kinds():
            raise CommandError(f"{provider} cannot be asked: no adapter is named {row.kind!r}.")
        try:
            report = model_sync.create_listed_models(row, prefix=prefix, dry_run=dry_run)
        except (GatewayError, VaultError) as error:
            raise CommandError(f"{provider} does not say which models it has: {error}") from None
        if options["format"] == "json":
            self.stdout.write(json.dumps(asdict(report)))
            return
        for public_id in report.added:
            self.stdout.write(f"+ {public_id}")
        for name in report.unusable:
            self.stdout.write(f"! {name!a} is no usable model id")
        for public_id in report.gone:
            self.stdout.write(f"? {public_id} is not listed any more")
        added = "would be added" if dry_run else "added"
        self.stdout.write(f"{len(report.added)} {added}, {len(report.known)} there already.")
