"""The command `list_models`: list every model with its provider and its aliases.

A virtual model is listed with its strategy and its base model instead.
"""

import json
from argparse import ArgumentParser
from typing import Any

from providers.management.base import GatewayCommand
from providers.management.command_helpers import write_table
from providers.models import ChatModel, ModelAlias, VirtualModel
from providers.protocol.json_types import JsonObject

TABLE_HEAD = ("MODEL", "PROVIDER", "UPSTREAM", "ENABLED", "CAPABILITIES", "CONTEXT", "ALIASES")


class Command(GatewayCommand):
    help = (
        "List the models that callers may name; several rows with one id are tried in this order."
    )
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: object, **options: Any) -> None:
        models = [make_entry(model) for model in ChatModel.objects.select_related("provider")]
        models += [make_virtual_entry(model) for model in VirtualModel.objects.all()]
        aliases: dict[str, list[str]] = {}
        for alias, public_id in ModelAlias.objects.values_list("alias", "public_id"):
            aliases.setdefault(public_id, []).append(alias)
        for entry in models:
            entry["aliases"] = aliases.get(entry["id"], [])
        if options["format"] == "json":
            self.stdout.write(json.dumps(models))
        elif models:
            write_table(self.stdout, [TABLE_HEAD, *map(make_table_row, models)])
        else:
            self.stdout.write("No models yet: add_model, sync_models or the admin make them.")


def make_entry(model: ChatModel) -> JsonObject:
    """Return the facts of a model, without its aliases."""
    return {
        "id": model.public_id,
        "provider": model.provider.name,
        "upstream": model.upstream_name,
        "enabled": model.enabled and model.provider.enabled,
        "capabilities": model.known_capabilities,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "priority": model.priority,
        "weight": model.weight,
    }


def make_virtual_entry(model: VirtualModel) -> JsonObject:
    """Return the facts of a virtual model: its strategy stands in place of a provider."""
    return {
        "id": model.public_id,
        "provider": f"({model.strategy})",
        "upstream": model.base,
        "enabled": model.enabled,
        "capabilities": [],
        "context_window": None,
        "max_output_tokens": None,
        "priority": 0,
        "weight": 1,
    }


def make_table_row(entry: JsonObject) -> tuple[str, ...]:
    """Return the cells of a model's line, as TABLE_HEAD names them."""
    return (
        entry["id"],
        entry["provider"],
        entry["upstream"],
        "yes" if entry["enabled"] else "no",
        ", ".join(entry["capabilities"]) or "-",
        str(entry["context_window"] or "-"),
        ", ".join(entry["aliases"]) or "-",
    )
