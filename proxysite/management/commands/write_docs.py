"""The command `write_docs`: write the pages that are made of declarations and commands."""

from pathlib import Path
from typing import Any

from django.conf import settings

from providers.management.base import GatewayCommand
from proxysite.configuration.settings_pages import render_env_example, render_settings_page
from proxysite.management.command_pages import render_commands_page


class Command(GatewayCommand):
    help = (
        "Write docs/settings.md, docs/commands.md and .env.example anew, from the declarations of "
        "settings and commands; for developers."
    )
    requires_system_checks: list[str] = []
    needs_database = False
    writes = False

    def handle(self, *args: Any, **options: Any) -> None:
        for path, text in render_written_pages().items():
            path.write_text(text, encoding="utf-8")
            self.stdout.write(f"{path.relative_to(settings.BASE_DIR)}")


def render_written_pages() -> dict[Path, str]:
    """Return {path: text} of every file that this command writes."""
    declared, groups = settings.DECLARED, settings.SETTING_GROUPS
    return {
        settings.BASE_DIR / ".env.example": render_env_example(declared, groups),
        settings.BASE_DIR / "docs" / "settings.md": render_settings_page(declared, groups),
        settings.BASE_DIR / "docs" / "commands.md": render_commands_page(),
    }
