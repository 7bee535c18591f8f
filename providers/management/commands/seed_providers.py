"""The command `seed_providers`: add rows for well-known upstreams."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from providers import seed_presets
from providers.management.base import GatewayCommand
from providers.management.command_helpers import describe_outcome
from providers.presets import PRESETS
from providers.protocol.json_types import JsonObject


class Command(GatewayCommand):
    help = "Add well-known upstreams; rows of the same name stay as they are."

    def add_arguments(self, parser: ArgumentParser) -> None:
        usual = ", ".join(name for name, preset in PRESETS.items() if preset.is_usual)
        named = ", ".join(name for name, preset in PRESETS.items() if not preset.is_usual)
        parser.add_argument(
            "names",
            nargs="*",
            metavar="NAME",
            help=f"which (default: all official services): {usual}; only when named: {named}",
        )
        parser.add_argument("--dry-run", action="store_true", help="list, change nothing")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: object, names: list[str], dry_run: bool, **options: Any) -> None:
        if unknown := sorted(set(names) - PRESETS.keys()):
            raise CommandError(
                f"No such preset: {', '.join(unknown)}; there are: {', '.join(PRESETS)}."
            )
        names = names or [name for name, preset in PRESETS.items() if preset.is_usual]
        with transaction.atomic():
            providers = [
                {"name": name, **seed_and_summarize(name)} for name in dict.fromkeys(names)
            ]
            transaction.set_rollback(dry_run)
        if options["format"] == "json":
            self.stdout.write(json.dumps(providers))
            return
        for entry in providers:
            self.stdout.write(describe_entry(entry, dry_run=dry_run))
        if any(entry["added"] and entry["needs_token"] for entry in providers):
            self.stdout.write("Next: import_tokens NAME FILE, then sync_models NAME.")


def describe_entry(entry: JsonObject, *, dry_run: bool) -> str:
    """Return the line about one provider: its name, what was done, its address, its models."""
    outcome = "there already"
    if entry["added"]:
        outcome = describe_outcome(is_new=True, dry_run=dry_run)
    line = f"{entry['name']:<12} {outcome:<14} {entry['base_url']}"
    if entry["models"]:
        line += f"; models: {', '.join(entry['models'])}"
    return line


def seed_and_summarize(name: str) -> JsonObject:
    """Add the preset's rows unless a provider of its name exists; return a summary of the provider.

    The summary has `added`, `base_url`, `needs_token` and `models` (public ids, when added now).
    """
    provider, added = seed_presets.create_preset_rows(name)
    models: list[str] = []
    if added:
        models = sorted(provider.models.values_list("public_id", flat=True))
    return {
        "added": added,
        "base_url": provider.base_url,
        "needs_token": provider.needs_token,
        "models": models,
    }
