"""The command `add_model`: add or change one model of a provider, and add its aliases."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from providers.choices import Capability, LongPrompts, ThinkingFormat
from providers.management.base import GatewayCommand
from providers.management.command_helpers import (
    describe_outcome,
    describe_validation_error,
    find_or_make_model,
    find_provider,
)
from providers.models import ModelAlias
from providers.seed_presets import create_kind_aliases

COLUMN_BY_OPTION = {
    "capability": "capabilities",
    "context_window": "context_window",
    "long_prompts": "long_prompts",
    "max_output": "max_output_tokens",
    "priority": "priority",
    "thinking_format": "thinking_format",
    "weight": "weight",
}


class Command(GatewayCommand):
    help = "Add a model, or change the one that the provider has: only what is given is changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("public", help="what callers write, for example kimi-k2")
        parser.add_argument("provider", help="name of the provider that answers")
        parser.add_argument(
            "--upstream", metavar="NAME", help="what the provider calls it (default: the same)"
        )
        parser.add_argument("--context-window", type=int, metavar="N", help="tokens")
        parser.add_argument(
            "--max-output", type=int, metavar="N", help="tokens of its longest answer"
        )
        parser.add_argument(
            "--long-prompts",
            choices=LongPrompts.values,
            help="prompts longer than the context window are fitted or refused (default: fitted, "
            "but not the system prompts of requests that offer tools)",
        )
        parser.add_argument(
            "--capability",
            action="append",
            choices=Capability.values,
            help="repeat it (default: not checked)",
        )
        parser.add_argument(
            "--thinking-format",
            choices=ThinkingFormat.values,
            help="where its thinking stands (default: in a field of its own)",
        )
        parser.add_argument(
            "--priority", type=int, metavar="N", help="among models of one id the lowest goes first"
        )
        parser.add_argument(
            "--weight", type=int, metavar="N", help="share of the requests within one priority"
        )
        parser.add_argument(
            "--alias", action="append", default=[], metavar="A", help="another name; repeat it"
        )
        parser.add_argument("--dry-run", action="store_true", help="check, change nothing")

    def handle(
        self,
        *args: object,
        public: str,
        provider: str,
        alias: list[str],
        dry_run: bool,
        **options: Any,
    ) -> None:
        row = find_or_make_model(find_provider(provider), public, options["upstream"] or "")
        is_new = row.pk is None
        for option, column in COLUMN_BY_OPTION.items():
            if options[option] is not None:
                setattr(row, column, options[option])
        try:
            with transaction.atomic():
                row.full_clean()
                row.save()
                for name in alias:
                    save_alias(name, public)
                if is_new:
                    create_kind_aliases(row)
                transaction.set_rollback(dry_run)
        except ValidationError as error:
            raise CommandError(describe_validation_error(error)) from None
        outcome = describe_outcome(is_new=is_new, dry_run=dry_run)
        self.stdout.write(f"Model {public} of {provider} {outcome}.")


def save_alias(alias: str, public_id: str) -> None:
    """Add an alias of a public id. Raises ValidationError, also when it means another one."""
    row = ModelAlias.objects.filter(alias=alias, public_id=public_id).first() or ModelAlias(
        alias=alias, public_id=public_id
    )
    row.full_clean()
    row.save()
