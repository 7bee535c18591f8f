"""The command `list_models`: list every model with its provider and its aliases.

A virtual model is listed with its strategy and its base model instead.
"""

import json
from argparse import ArgumentParser
from typing import Any

from providers.management.base import GatewayCommand
from providers.models import ChatModel, ModelAlias, VirtualModel

TABLE_HEAD = ("MODEL", "PROVIDER", "UPSTREAM", "ENABLED", "CAPABILITIES", "CONTEXT", "ALIASES")


class Command(GatewayCommand):
    help = (
        "List the models that callers may name; several rows with one id are tried in this order."
    )
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        aliases: dict[str, list[str]] = {}
        for alias, public_id in ModelAlias.objects.values_list("alias", "public_id"):
            aliases.setdefault(public_id, []).append(alias)
        found = [
            {
                "id": model.public_id,
                "provider": model.provider.name,
                "upstream": model.upstream_name,
                "enabled": model.enabled and model.provider.enabled,
                "capabilities": model.capabilities,
                "context_window": model.context_window,
                "priority": model.priority,
                "weight": model.weight,
                "aliases": aliases.get(model.public_id, []),
            }
            for model in ChatModel.objects.select_related("provider")
        ]
        found += [
            {
                "id": model.public_id,
                "provider": f"({model.strategy})",
                "upstream": model.base,
                "enabled": model.enabled,
                "capabilities": [],
                "context_window": None,
                "priority": 0,
                "weight": 1,
                "aliases": aliases.get(model.public_id, []),
            }
            for model in VirtualModel.objects.all()
        ]
        if options["format"] == "json":
            self.stdout.write(json.dumps(found))
        elif found:
            self.write_table([TABLE_HEAD, *(make_table_row(entry) for entry in found)])
        else:
            self.stdout.write("No models yet: add_model, sync_models or the admin make them.")

    def write_table(self, lines: list[tuple[str, ...]]) -> None:
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for cells in lines:
            padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            self.stdout.write("  ".join(padded).rstrip())


def make_table_row(entry: dict[str, Any]) -> tuple[str, ...]:
    enabled = "yes" if entry["enabled"] else "no"
    capabilities, aliases = (", ".join(entry[name]) or "-" for name in ("capabilities", "aliases"))
    window = str(entry["context_window"] or "-")
    return entry["id"], entry["provider"], entry["upstream"], enabled, capabilities, window, aliases
