"""The page about management commands, `docs/commands.md`, written from the commands themselves."""

import re
import textwrap
from argparse import SUPPRESS, Action
from collections.abc import Iterator
from pathlib import PurePath

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, DjangoHelpFormatter

LINE_WIDTH = 100
TITLES = {  # of the sections, by app label
    "proxysite": "The gateway",
    "providers": "Providers and models",
    "tokens": "Tokens",
    "conversations": "Conversations and documents",
    "api": "API keys and usage",
}
COMMON_OPTIONS = DjangoHelpFormatter.show_last | {"--help"}
HEAD = """\
# Commands

Run a command as `.venv/bin/python manage.py COMMAND`, in the directory of `manage.py`. In a
container it is `docker compose exec web python manage.py COMMAND`.

- A command finds the gateway that runs from this directory. Its home and its database come from the
  environment, else from `.env`, else from that gateway, else they are those of `./var`.
- A command that writes refuses another database than the running gateway's, and names the database
  when it is not the usual one. Before the first `serve` it writes nothing.
- A running gateway knows of a change within a second.
- The exit status is 0, or 1 with one line on standard error that says what to correct.
- Options cannot be abbreviated. `--help` shows them.

Django brings more commands, of which these are useful here: `changepassword USER`,
`createsuperuser`, and `axes_reset`, `axes_reset_ip ADDRESS` and `axes_reset_username USER`, which
end the locks after failed logins ([operations](operations.md#locked-out)).

This page is written by `manage.py write_docs` from the commands themselves.
"""


def render_commands_page() -> str:
    """Return the text of `docs/commands.md`: each command of the project with its options."""
    sections = [HEAD]
    for app_label, names in group_commands().items():
        sections.append(f"## {TITLES[app_label]}\n")
        sections += [render_command(app_label, name) for name in names]
    return "\n".join(sections)


def group_commands() -> dict[str, list[str]]:
    """Return {app label: names of its commands} for our own apps."""
    commands = get_commands()
    return {app: sorted(name for name, owner in commands.items() if owner == app) for app in TITLES}


def render_command(app_label: str, name: str) -> str:
    command = load_command_class(app_label, name)
    rows = [render_option(action) for action in list_arguments(command, name)]
    table = ["| argument | meaning |", "| --- | --- |", *rows, ""] if rows else []
    help_text = textwrap.fill(clean_text(command.help), LINE_WIDTH)
    return "\n".join([f"### `{name}`\n", f"{help_text}\n", *table])


def list_arguments(command: BaseCommand, name: str) -> Iterator[Action]:
    """Yield the arguments of a command, without those that all commands of Django have."""
    parser = command.create_parser("manage.py", name)
    for action in parser._actions:
        if not set(action.option_strings) & COMMON_OPTIONS and action.help != SUPPRESS:
            yield action


def render_option(action: Action) -> str:
    spelling = ", ".join(action.option_strings)
    value = describe_value(action)
    argument = f"{spelling} {value}".strip()
    meaning = clean_text((action.help or "") % vars(action))
    return f"| `{argument}` | {meaning} |".replace("|  |", "| |")


def describe_value(action: Action) -> str:
    """Return the value of an argument as usage shows it; "" for a switch."""
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return "{" + ",".join(str(choice) for choice in action.choices) + "}"
    name = str(action.metavar or (action.dest.upper() if action.option_strings else action.dest))
    return f"[{name}]" if action.nargs == "?" else name


def clean_text(text: str) -> str:
    """Return a text on one line, with links to the pages that it names and its marks escaped."""
    one_line = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return re.sub(
        r"docs/(\S+?\.md)", lambda match: f"[{PurePath(match[1]).stem}]({match[1]})", one_line
    )
