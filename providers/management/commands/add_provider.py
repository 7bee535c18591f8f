"""The command `add_provider`: add or change one upstream and its models."""

import sys
from argparse import ArgumentParser
from getpass import getpass
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from providers import registry
from providers.choices import LongPrompts
from providers.dialects import PROFILES
from providers.management.base import GatewayCommand
from providers.management.command_helpers import (
    describe_outcome,
    describe_validation_error,
    find_or_make_model,
)
from providers.models import Provider
from providers.network.proxies import outbound_proxy


class Command(GatewayCommand):
    help = "Add an upstream, or change the one of that name."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="short name, for example moonshot")
        parser.add_argument(
            "--kind", required=True, help=f"adapter: {', '.join(registry.list_adapter_kinds())}"
        )
        parser.add_argument(
            "--base-url",
            default="",
            help="everything before /chat/completions, for example https://api.moonshot.ai/v1",
        )
        parser.add_argument(
            "--model",
            action="append",
            default=[],
            metavar="PUBLIC[=UPSTREAM]",
            help="a model to offer; repeat it",
        )
        parser.add_argument(
            "--priority",
            type=int,
            metavar="N",
            help="of these models: among rows of one id the lowest goes first",
        )
        parser.add_argument(
            "--long-prompts",
            choices=LongPrompts.values,
            help="of these models: prompts longer than the context window are fitted or refused",
        )
        parser.add_argument(
            "--no-tools", action="store_true", help="its models cannot call tools themselves"
        )
        parser.add_argument(
            "--dialect",
            default="",
            help=f"how it differs from OpenAI: {', '.join(sorted(PROFILES))}; "
            "without it the kind and the address decide",
        )
        parser.add_argument("--no-token", action="store_true", help="it asks for no credential")
        parser.add_argument("--no-usage", action="store_true", help="it refuses stream_options")
        parser.add_argument(
            "--allow-private",
            action="store_true",
            help="allow an address on this machine or network, and plain http",
        )
        parser.add_argument(
            "--confirm-tokens",
            action="store_true",
            help="the tokens that it has may be sent to the new address",
        )
        parser.add_argument(
            "--proxy",
            metavar="URL",
            help="reach it through this proxy, for example http://june@proxy.example:8080, whose "
            "password is asked for, or socks5://127.0.0.1:1080; direct: through none "
            "(default: the setting PROXY_URL)",
        )
        parser.add_argument("--dry-run", action="store_true", help="check, change nothing")

    def handle(
        self, *args: object, name: str, kind: str, base_url: str, model: list[str], **options: Any
    ) -> None:
        provider = Provider.objects.filter(name=name).first() or Provider(name=name)
        is_new = provider.pk is None
        provider.kind = kind
        provider.base_url = base_url
        provider.dialect = options["dialect"]
        provider.native_tools = not options["no_tools"]
        provider.needs_token = not options["no_token"] and kind != "echo"
        provider.reports_usage = not options["no_usage"]
        provider.allow_private = options["allow_private"]
        if options["proxy"] is not None:
            provider.proxy_url = self.complete_proxy_url(options["proxy"])
        try:
            with transaction.atomic():
                provider.full_clean()
                if options["confirm_tokens"]:
                    provider.confirm_destination()
                provider.save()
                for entry in model:
                    save_model(provider, entry, options["priority"], options["long_prompts"])
                transaction.set_rollback(options["dry_run"])
        except ValidationError as error:
            raise CommandError(describe_validation_error(error)) from None
        outcome = describe_outcome(is_new=is_new, dry_run=options["dry_run"])
        self.stdout.write(f"Provider {name} {outcome}; models: {', '.join(model) or 'none'}.")
        if provider.set_aside_reason:
            self.stdout.write(
                f"{provider.set_aside_reason} Until then it is not called: confirm it in the "
                "admin, or run this again with --confirm-tokens."
            )

    def complete_proxy_url(self, text: str) -> str:
        """Return a proxy's URL with the password that it needs. Raises CommandError."""
        if not text or text == outbound_proxy.DIRECT:
            return text
        try:
            proxy = outbound_proxy.parse_proxy_url(text)
        except ValueError as error:
            raise CommandError(str(error)) from None
        if proxy.password:
            self.stderr.write(
                "Others on this machine may have seen the proxy's password in the list of "
                "processes: leave it out, and it is asked for.",
                self.style.WARNING,
            )
        elif proxy.username:
            prompt = f"Password of {proxy.username} at {proxy.host}: "
            password = getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
            return outbound_proxy.insert_password(text, password.strip())
        return text


def save_model(
    provider: Provider, entry: str, priority: int | None, long_prompts: str | None
) -> None:
    """Add or change the model that `PUBLIC[=UPSTREAM]` names. Raises ValidationError."""
    public_id, _, upstream_name = entry.partition("=")
    row = find_or_make_model(provider, public_id)
    row.upstream_name = upstream_name or public_id
    if priority is not None:
        row.priority = priority
    if long_prompts is not None:
        row.long_prompts = long_prompts
    row.full_clean()
    row.save()
