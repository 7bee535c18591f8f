"""The `.env` file: its variables complete those of the environment. No Django in here."""

import re
from collections.abc import MutableMapping
from pathlib import Path

import environ

from proxysite.configuration.declarations import Environment
from proxysite.configuration.setting_values import ENV_FILE

COMMENTED_LINE = re.compile(r"(?:export )?(?P<name>\w+)=(?P<value>(?:[^\s'\"].*?)?)\s+#.*")


def load_environment(file: Path) -> Environment:
    """Return the environment of this process, completed by the `.env` file.

    Changes os.environ, so that processes that this one starts see the same values.
    """
    variables: MutableMapping[str, str] = environ.Env.ENVIRON
    names_before = set(variables)
    environ.Env.read_env(str(file))
    sources = {name: ENV_FILE for name in variables if name not in names_before}
    environment = Environment(variables, sources)
    for name, value in find_commented_values(file):
        if environment.find_source(name) == ENV_FILE:
            variables[name] = value
    if file.is_file() and not is_readable(file):
        environment.warnings.append(f"{file} cannot be read: its settings are not in force.")
    return environment


def find_commented_values(file: Path) -> list[tuple[str, str]]:
    """Return the (name, value) pairs of a `.env` file whose value is followed by a comment.

    The comment is removed; django-environ would take it for a part of the value. A comment begins
    with a space and #. A quoted value has none.
    """
    if not is_readable(file):
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    matches = (COMMENTED_LINE.fullmatch(line) for line in lines)
    return [(match["name"], match["value"]) for match in matches if match is not None]


def is_readable(file: Path) -> bool:
    try:
        with file.open("rb"):
            return True
    except OSError:
        return False
