"""The pages about settings, written from their declarations: `docs/settings.md`, `.env.example`.

`manage.py write_docs` writes both files, and a test compares them with these functions. They show
defaults, never the values in force. No I/O, no Django.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from proxysite.configuration.setting_types import DeclaredSetting

LINE_WIDTH = 100
UNITS = {
    "SECONDS": "seconds",
    "HOURS": "hours",
    "DAYS": "days",
    "BYTES": "bytes",
    "CHARS": "characters",
    "TOKENS": "tokens",
}
DAY_SECONDS = 86_400
SIZE_NAMES = (("GB", 2**30), ("MB", 2**20), ("KB", 2**10))
MARKDOWN_HEAD = """\
# Settings

Each setting is a variable of the environment, or a line `NAME=value` of the file `.env` beside
`manage.py`; the environment wins. An empty variable has its default. A value that is not allowed
ends the start with one line that names it. `make settings` shows the values in force and where each
comes from. [`.env.example`](../.env.example) has the same list to copy from.

This page is written by `manage.py write_docs` from the declarations in `proxysite/settings.py`.
"""
ENV_HEAD = """\
# Settings with their defaults. Copy the lines that you change to the file .env beside this one, or
# set them in the environment; the environment wins. docs/settings.md says which values are allowed.
# This file is written by: manage.py write_docs
"""


def render_settings_page(declared: Mapping[str, DeclaredSetting], groups: Mapping[str, str]) -> str:
    """Return the text of `docs/settings.md`: a table for each group."""
    lines = [MARKDOWN_HEAD]
    for title, help_text in groups.items():
        lines.append(f"## {title}\n")
        if help_text:
            lines.append(f"{textwrap.fill(link_pages(help_text), LINE_WIDTH)}\n")
        lines += ["| setting | default | allowed | meaning |", "| --- | --- | --- | --- |"]
        lines += [render_table_row(setting) for setting in select_group(declared, title)]
        lines.append("")
    return "\n".join(lines)


def render_env_example(declared: Mapping[str, DeclaredSetting], groups: Mapping[str, str]) -> str:
    """Return the text of `.env.example`: each setting behind a `#`, with its default."""
    lines = [ENV_HEAD]
    for title, help_text in groups.items():
        lines.append(f"# --- {title} ".ljust(LINE_WIDTH, "-"))
        lines += wrap_comment(help_text)
        for setting in select_group(declared, title):
            default = format_default(setting.default)
            lines += ["", *wrap_comment(setting.help_text), f"# {setting.name}={default}"]
        lines.append("")
    return "\n".join(lines)


def select_group(declared: Mapping[str, DeclaredSetting], title: str) -> Iterator[DeclaredSetting]:
    return (setting for setting in declared.values() if setting.group == title)


def render_table_row(setting: DeclaredSetting) -> str:
    default = format_default(setting.default)
    cells = [
        f"`{setting.name}`",
        f"`{default}`{describe_amount(setting)}" if default else "",
        describe_allowed(setting),
        link_pages(setting.help_text),
    ]
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def format_default(value: Any) -> str:
    """Return a default as a person would write it in `.env`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(str(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe_amount(setting: DeclaredSetting) -> str:
    """Return a large default in words, for example " (16 MB)"; "" where it needs none."""
    unit = find_unit(setting)
    if unit == "bytes":
        sizes = [(name, size) for name, size in SIZE_NAMES if setting.default >= size]
        return f" ({setting.default // sizes[0][1]} {sizes[0][0]})" if sizes else ""
    if unit == "seconds" and setting.default >= DAY_SECONDS:
        days = setting.default / DAY_SECONDS
        return f" ({days:g} {'day' if days == 1 else 'days'})"
    return ""


def describe_allowed(setting: DeclaredSetting) -> str:
    """Return which values are allowed, with the unit of a number."""
    if setting.is_secret:
        return "secret" if not setting.allowed else f"secret {setting.allowed}"
    unit = find_unit(setting)
    allowed = setting.allowed or "text"
    return f"{allowed}, in {unit}" if unit else allowed


def find_unit(setting: DeclaredSetting) -> str:
    """Return the unit that the setting's name carries; "" where it is no number or has none."""
    if "number" not in setting.allowed:
        return ""
    return next((UNITS[word] for word in setting.name.split("_") if word in UNITS), "")


def wrap_comment(text: str) -> list[str]:
    return textwrap.wrap(text, LINE_WIDTH, initial_indent="# ", subsequent_indent="# ")


def link_pages(text: str) -> str:
    """Return the text with links in place of the names of pages, for a page of docs/."""
    words = (
        f"[{word.removeprefix('docs/').rstrip('.')}]({word.removeprefix('docs/').rstrip('.')})."
        if word.startswith("docs/")
        else word
        for word in text.split(" ")
    )
    return " ".join(words)
