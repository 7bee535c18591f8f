"""The command `add_provider`: add or change one upstream and its models."""

import sys
from argparse import ArgumentParser
from getpass import getpass
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from providers import registry, seed_presets
from providers.choices import LongPrompts, Mode
from providers.dialects import PROFILES
from providers.management.base import GatewayCommand
from providers.management.command_helpers import (
    describe_outcome,
    describe_validation_error,
    find_or_make_model,
    find_preset,
)
from providers.models import ChatModel, Provider
from providers.network.proxies import outbound_proxy
from providers.presets import Preset
from providers.protocol.json_types import JsonObject

# an option that is given -> the column that it sets, and the value
COLUMN_BY_FLAG = {
    "no_tools": ("native_tools", False),
    "no_token": ("needs_token", False),
    "no_usage": ("reports_usage", False),
    "allow_private": ("allow_private", True),
}


class Command(GatewayCommand):
    help = "Add an upstream, or change the one of that name."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="short name, for example moonshot")
        parser.add_argument("--kind", help=f"adapter: {', '.join(registry.list_adapter_kinds())}")
        parser.add_argument(
            "--preset",
            metavar="PRESET",
            help="kind, address, fields, models and aliases of a known upstream, as "
            "seed_providers has them; other options go on top",
        )
        parser.add_argument(
            "--base-url",
            default="",
            help="everything before /chat/completions, for example https://api.moonshot.ai/v1",
        )
        parser.add_argument(
            "--mode", choices=Mode.values, help="how it is called (default: unchanged, else user)"
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

    def handle(self, *args: object, name: str, model: list[str], **options: Any) -> None:
        provider = Provider.objects.filter(name=name).first() or Provider(name=name)
        is_new = provider.pk is None
        preset = choose_preset(options["preset"], options["kind"])
        for column, value in choose_columns(preset, options).items():
            setattr(provider, column, value)
        if options["proxy"] is not None:
            provider.proxy_url = self.complete_proxy_url(options["proxy"])
        try:
            with transaction.atomic():
                provider.full_clean()
                if options["confirm_tokens"]:
                    provider.confirm_destination()
                provider.save()
                for entry in model:
                    save_model(find_or_make_model(provider, *entry.split("=", 1)), options)
                preset_models = make_preset_models(provider, preset)
                for row in preset_models:
                    save_model(row, options)
                aliases = create_aliases(provider, preset)
                transaction.set_rollback(options["dry_run"])
        except ValidationError as error:
            raise CommandError(describe_validation_error(error)) from None
        outcome = describe_outcome(is_new=is_new, dry_run=options["dry_run"])
        names = model + [row.public_id for row in preset_models]
        line = f"Provider {name} {outcome}; models: {', '.join(names) or 'none'}"
        if aliases:
            line += f"; aliases: {', '.join(aliases)}"
        self.stdout.write(f"{line}.")
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


def choose_preset(preset_name: str | None, kind: str | None) -> Preset:
    """Return the preset of this name, or one without fields for a kind. Raises CommandError."""
    if preset_name is None:
        if kind is None:
            raise CommandError("Give --kind or --preset. See: manage.py add_provider --help")
        return Preset("", "", kind=kind)
    preset = find_preset(preset_name)
    if kind not in (None, preset.kind):
        raise CommandError(f"The preset {preset_name} is of the kind {preset.kind}, not {kind}.")
    return preset


def choose_columns(preset: Preset, options: JsonObject) -> JsonObject:
    """Return the values of the provider's columns: of the preset, changed by the options."""
    columns: JsonObject = {
        "kind": preset.kind,
        "base_url": options["base_url"] or preset.base_url,
        "dialect": "",
        "native_tools": True,
        "needs_token": preset.kind != "echo",
        "reports_usage": True,
        "allow_private": False,
        **preset.fields,
    }
    for column in ("dialect", "mode"):
        if options[column]:
            columns[column] = options[column]
    for flag, (column, value) in COLUMN_BY_FLAG.items():
        if options[flag]:
            columns[column] = value
    return columns


def make_preset_models(provider: Provider, preset: Preset) -> list[ChatModel]:
    """Return the rows of a preset's models that the provider lacks, not saved."""
    present_ids = set(provider.models.values_list("public_id", flat=True))
    return [
        ChatModel(provider=provider, **fields)
        for fields in preset.models
        if fields["public_id"] not in present_ids
    ]


def save_model(row: ChatModel, options: JsonObject) -> None:
    """Write a model with what the options say of all models. Raises ValidationError."""
    for column in ("priority", "long_prompts"):
        if options[column] is not None:
            setattr(row, column, options[column])
    row.full_clean()
    row.save()


def create_aliases(provider: Provider, preset: Preset) -> list[str]:
    """Create the aliases of the preset, and those of models of this kind; return the new names."""
    names = seed_presets.create_aliases(preset.aliases)
    for model in provider.models.all():
        names += seed_presets.create_kind_aliases(model)
    return names
