"""Pages that a command writes: they are as it would write them now."""

import pytest
from django.conf import settings

from proxysite.configuration.declarations import Environment
from proxysite.configuration.settings_pages import render_env_example, render_settings_page
from proxysite.management.commands.write_docs import render_written_pages

REMEDY = "run .venv/bin/python manage.py write_docs, and commit what it writes"


@pytest.mark.parametrize("name", [".env.example", "docs/settings.md", "docs/commands.md"])
def test_a_written_page_is_up_to_date(name: str) -> None:
    path = settings.BASE_DIR / name
    assert path.read_text(encoding="utf-8") == render_written_pages()[path], REMEDY


def test_a_page_shows_defaults_and_no_value_that_is_in_force() -> None:
    env = Environment({"WAIT_SECONDS": "7", "API_SECRET": "canary"})
    env.begin_group("Waits", "See docs/limits.md.")
    env.read_seconds("WAIT_SECONDS", 172_800, "A caller waits so long.")
    env.read_secret("API_SECRET", "Opens the door | of the house.")
    page = render_settings_page(env.declared_settings, env.groups)
    assert "See [limits.md](limits.md)." in page
    assert "| `WAIT_SECONDS` | `172800` (2 days) | a number of at least 0.001, in seconds |" in page
    example = render_env_example(env.declared_settings, env.groups)
    assert "\n# A caller waits so long.\n# WAIT_SECONDS=172800\n" in example
    assert "canary" not in page + example
