"""The command `show_settings`: every setting in force, and where it comes from."""

import json
from argparse import ArgumentParser

from django.conf import settings

from providers.management.base import GatewayCommand
from proxysite.configuration.locations import SECRET_NAMES
from proxysite.configuration.setting_types import DeclaredSetting
from proxysite.configuration.setting_values import DEFAULT
from proxysite.configuration.settings_pages import render_env_example, render_settings_page
from proxysite.logging import redact_secrets

LONGEST_SHOWN_CHARS = 60
PAGES = {"markdown": render_settings_page, "env": render_env_example}
SettingValue = str | int | float | list[str]


class Command(GatewayCommand):
    help = "List all settings with their values and where they come from; secrets are hidden."
    requires_system_checks: list[str] = []
    needs_database = False
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--format",
            choices=["text", "json", *PAGES],
            default="text",
            help="text and json show the values in force; markdown and env all declarations",
        )

    def handle(self, *args: object, **options: object) -> None:
        if options["format"] in PAGES:
            render_page = PAGES[options["format"]]
            self.stdout.write(render_page(settings.DECLARED, settings.SETTING_GROUPS), ending="")
            return
        rows = [
            (name, convert_setting_value(declared), describe_setting_source(declared))
            for name, declared in sorted(settings.DECLARED.items())
        ]
        if options["format"] == "json":
            columns = ("name", "value", "source")
            self.stdout.write(json.dumps([dict(zip(columns, row, strict=True)) for row in rows]))
            return
        texts = [(name, format_setting_value(value), source) for name, value, source in rows]
        widths = [max(len(text[column]) for text in texts) for column in (0, 1)]
        for name, value, source in texts:
            self.stdout.write(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}")


def convert_setting_value(declared: DeclaredSetting) -> SettingValue:
    """Return the value as JSON can carry it; for a secret only whether there is one."""
    if declared.is_secret:
        is_set = declared.value or declared.name in SECRET_NAMES
        return "***" if is_set else ""
    if isinstance(declared.value, str):
        return redact_secrets(declared.value)
    if isinstance(declared.value, list):
        return [str(entry) for entry in declared.value]
    if isinstance(declared.value, int | float):
        return declared.value
    return str(declared.value)


def describe_setting_source(declared: DeclaredSetting) -> str:
    """Return where the value comes from; random secrets are kept in the home."""
    if declared.name in SECRET_NAMES and declared.source == DEFAULT:
        return "secrets.env" if settings.HAS_SECRETS else "made by the first `serve`"
    return declared.source


def format_setting_value(value: SettingValue) -> str:
    """Return a value in the form in which a person would set it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    text = ",".join(value) if isinstance(value, list) else str(value)
    if len(text) > LONGEST_SHOWN_CHARS:
        return f"{text[:LONGEST_SHOWN_CHARS]}…"
    return text
