"""The command `test_provider`: find out what an upstream's dialect is like, and propose a row."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from providers import registry
from providers.exceptions import GatewayError
from providers.management.base import GatewayCommand
from providers.management.command_helpers import describe_validation_error, find_provider
from providers.models import Provider
from providers.protocol.json_types import JsonObject
from providers.vault import VaultError
from tokens.dialect_probe import examination
from tokens.secret_check import require_secrets


class Command(GatewayCommand):
    help = (
        "Ask an upstream some tiny questions, and show what it takes and how it answers. It "
        "proposes changes of the provider's row, and writes them only with --apply."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("provider", help="name of the provider")
        parser.add_argument(
            "--model",
            metavar="M",
            help="which model to ask: a public id, or the upstream's name (default: the first one "
            "that the provider has)",
        )
        parser.add_argument("--apply", action="store_true", help="write what is proposed")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, provider: str, model: str | None, **options: Any) -> None:
        require_secrets()
        row = find_provider(provider)
        if row.kind not in registry.list_adapter_kinds():
            raise CommandError(f"{provider} cannot be asked: no adapter is named {row.kind!r}.")
        model_name = examination.find_model_name(row, model)
        if not model_name:
            raise CommandError(f"{provider} has no model yet: name one with --model.")
        if options["format"] == "text":
            self.stdout.write(examination.describe_costs(model_name))
        try:
            result = examination.examine_upstream(row, model_name)
        except (GatewayError, VaultError) as error:
            raise CommandError(f"{provider} does not answer: {error}") from None
        is_written = options["apply"] and bool(result.columns)
        if is_written:
            write_columns(row, result.columns)
        if options["format"] == "json":
            self.stdout.write(json.dumps(asdict(result) | {"written": is_written}))
            return
        self.write_findings(result)
        self.write_proposal(provider, result.columns, is_written=is_written)

    def write_findings(self, result: examination.Examination) -> None:
        width = max(len(finding.subject) for finding in result.findings)
        for finding in result.findings:
            self.stdout.write(f"  {finding.subject:<{width}}  {finding.result}")

    def write_proposal(self, provider: str, columns: JsonObject, *, is_written: bool) -> None:
        if not columns:
            self.stdout.write(f"The row of {provider} fits: nothing to change.")
            return
        self.stdout.write("Written:" if is_written else "Proposed:")
        for name, value in columns.items():
            self.stdout.write(f"  {name}: {json.dumps(value)}")
        if not is_written:
            self.stdout.write("Nothing was written; --apply writes it.")


def write_columns(provider: Provider, columns: JsonObject) -> None:
    """Write the proposed columns of the provider. Raises CommandError if they do not fit."""
    for name, value in columns.items():
        setattr(provider, name, value)
    try:
        provider.full_clean()
    except ValidationError as error:
        raise CommandError(describe_validation_error(error)) from None
    provider.save(update_fields=list(columns))
