"""The command `add_model`: add or change one model of a provider, and add its aliases."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from providers.choices import Capability
from providers.management.base import GatewayCommand
from providers.management.command_helpers import describe_validation_error, find_provider
from providers.models import ChatModel, ModelAlias


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
            "--capability",
            action="append",
            choices=Capability.values,
            help="repeat it (default: not checked)",
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
        *args: Any,
        public: str,
        provider: str,
        alias: list[str],
        dry_run: bool,
        **options: Any,
    ) -> None:
        owner = find_provider(provider)
        row = owner.models.filter(public_id=public).first() or ChatModel(
            provider=owner, public_id=public
        )
        made = row.pk is None
        row.upstream_name = options["upstream"] or row.upstream_name or public
        for name, option in (
            ("capabilities", "capability"),
            *((name, name) for name in SAME_NAME_FIELDS),
        ):
            if options[option] is not None:
                setattr(row, name, options[option])
        try:
            with transaction.atomic():
                row.full_clean()
                row.save()
                for name in alias:
                    link = ModelAlias.objects.filter(
                        alias=name, public_id=public
                    ).first() or ModelAlias(alias=name)
                    link.public_id = public
                    link.full_clean()
                    link.save()
                transaction.set_rollback(dry_run)
        except ValidationError as error:
            raise CommandError(describe_validation_error(error)) from None
        done = "would be " if dry_run else ""
        self.stdout.write(f"Model {public} of {provider} {done}{'added' if made else 'changed'}.")


SAME_NAME_FIELDS = ("context_window", "priority", "weight")
