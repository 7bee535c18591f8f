"""Settings read from variables: each is declared once, with its type and range. No Django in here.

A value comes from the environment, else from the `.env` file, else from a running gateway
(`suggest_value`), else it is the default. A value that is not allowed becomes a line in
`problems`, and `raise_problems` ends the program with these lines. `declared_settings` holds the
values in force and their sources.
"""

import builtins
import re
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ

from proxysite.configuration.setting_values import (
    DATABASE_FORMS,
    DEFAULT,
    ENV_FILE,
    ENVIRONMENT,
    FALSE_WORDS,
    HOST_NAME,
    LARGEST_NUMBER,
    LONGEST_TIMER_SECONDS,
    ORIGIN,
    TEN_YEARS_SECONDS,
    TRUE_WORDS,
    check_database_url,
    check_entries,
    check_range,
    check_text,
    describe_bad_value,
    describe_range,
    find_similar_name,
    split_list,
)

Value = TypeVar("Value")
Network = IPv4Network | IPv6Network
COMMENTED_LINE = re.compile(r"(?:export )?(?P<name>\w+)=(?P<value>(?:[^\s'\"].*?)?)\s+#.*")
OUR_PREFIX = "PROXYSITE_"


class InvalidSettings(SystemExit):
    """Settings that cannot be used.

    The interpreter prints the lines to standard error and exits with status 1.
    """


@dataclass(frozen=True, slots=True)
class DeclaredSetting:
    """One setting as it is in force.

    `allowed` says in words which values it may have; it is "" when any text is allowed.
    """

    name: str
    value: Any
    source: str
    allowed: str
    is_secret: bool = False


class Environment:
    """The variables of this process, with methods that declare and read settings.

    An empty variable counts as one that is not set.
    """

    def __init__(
        self, variables: MutableMapping[str, str], sources: dict[str, str] | None = None
    ) -> None:
        self.variables = variables
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.declared_settings: dict[str, DeclaredSetting] = {}
        self._sources = sources or {}
        self._suggestions: dict[str, tuple[str, str]] = {}

    # --- where values come from -----------------------------------------------------------------
    def suggest_value(self, name: str, value: str, source: str) -> None:
        """Use `value` where the variable is not set at all."""
        if name not in self.variables:
            self._suggestions[name] = value, source

    def record_aliases(self, aliases: dict[str, str]) -> None:
        """Remember which variables were set from another program's.

        `aliases` maps our name to theirs.
        """
        for ours, theirs in aliases.items():
            self._sources[ours] = f"{theirs} of the {self.find_source(theirs)}"

    def find_source(self, name: str) -> str:
        """Return where the value of a variable that is set comes from, in a word."""
        return self._sources.get(name, ENVIRONMENT)

    def find_variable(self, name: str) -> tuple[str, str]:
        """Return the variable's text and its source; ("", "default") when it is not set."""
        if text := self.variables.get(name, "").strip():
            return text, self.find_source(name)
        return self._suggestions.get(name, ("", DEFAULT))

    # --- kinds of settings ----------------------------------------------------------------------
    def read_count(
        self, name: str, default: int, least: int = 1, most: int = LARGEST_NUMBER
    ) -> int:
        """Read a whole number."""

        def parse_count(text: str) -> int:
            return check_range(int(text), least, most)

        return self.read_variable(
            name, default, parse_count, f"a whole number {describe_range(least, most)}"
        )

    def read_number(
        self, name: str, default: float, least: float = 0, most: float = LARGEST_NUMBER
    ) -> float:
        """Read a number that may have a fraction."""

        def parse_number(text: str) -> float:
            return check_range(float(text), least, most)

        return self.read_variable(
            name, float(default), parse_number, f"a number {describe_range(least, most)}"
        )

    def read_seconds(self, name: str, default: float, least: float = 0.001) -> float:
        """Read a time-out or a pause in seconds."""
        return self.read_number(name, default, least, LONGEST_TIMER_SECONDS)

    def read_whole_seconds(self, name: str, default: int, least: int = 1) -> int:
        """Read a time in whole seconds; 0 is allowed only where `least` is 0."""
        return self.read_count(name, default, least, TEN_YEARS_SECONDS)

    def read_size_bytes(self, name: str, default: int, least: int = 1) -> int:
        return self.read_count(name, default, least)

    def read_share(self, name: str, default: float) -> float:
        """Read a part of a whole: from 0.01 to 1."""
        return self.read_number(name, default, 0.01, 1)

    def read_switch(self, name: str, default: bool) -> bool:
        def parse_switch(text: str) -> bool:
            if text.lower() not in TRUE_WORDS + FALSE_WORDS:
                raise ValueError
            return text.lower() in TRUE_WORDS

        return self.read_variable(name, default, parse_switch, "true or false")

    def read_choice(self, name: str, default: str, values: Iterable[str]) -> str:
        """Read one of `values` in any case, and return it as `values` spells it."""
        spelt = {value.lower(): value for value in values}

        def parse_choice(text: str) -> str:
            if text.lower() not in spelt:
                raise ValueError
            return spelt[text.lower()]

        return self.read_variable(
            name, default, parse_choice, f"one of {', '.join(spelt.values())}"
        )

    def read_plain_text(self, name: str, default: str = "") -> str:
        return self.read_variable(name, default, check_text, "")

    def read_secret(self, name: str, default: str = "") -> str:
        """Read a text that must never be shown."""
        return self.read_variable(name, default, check_text, "", is_secret=True)

    def read_names(self, name: str, default: list[str], is_secret: bool = False) -> list[str]:
        """Read a list of texts, separated by commas."""
        return self.read_variable(name, default, split_list, "", is_secret)

    def read_host_names(self, name: str, default: list[str]) -> list[str]:
        """Read the host names by which a site is reached."""

        def parse_host_names(text: str) -> list[str]:
            return check_entries(split_list(text), HOST_NAME)

        allowed = (
            "host names without https:// and port, comma separated: "
            "gateway.example,192.168.1.5,[::1]"
        )
        return self.read_variable(name, default, parse_host_names, allowed)

    def read_origins(self, name: str, default: list[str], wildcard: bool = False) -> list[str]:
        """Read the origins of web pages; with `wildcard` an origin may also be `*`."""

        def parse_origins(text: str) -> list[str]:
            given = split_list(text)
            check_entries([entry for entry in given if not (wildcard and entry == "*")], ORIGIN)
            return given

        allowed = "origins, comma separated: https://app.example,http://localhost:3000"
        return self.read_variable(name, default, parse_origins, allowed)

    def read_networks(self, name: str, default: list[Network]) -> list[Network]:
        """Read networks and addresses; an address is a network of one."""

        def parse_networks(text: str) -> list[Network]:
            return [ip_network(part, strict=False) for part in split_list(text)]

        return self.read_variable(
            name,
            default,
            parse_networks,
            "addresses or networks such as 10.0.0.0/8, comma separated",
        )

    def read_url(self, name: str, default: str, schemes: tuple[str, ...]) -> str:
        """Read a URL with a host.

        An error does not repeat its value, which may hold a password.
        """

        def parse_url(text: str) -> str:
            parts = urlsplit(text)
            has_place = parts.hostname or (parts.scheme == "unix" and parts.path)
            if parts.scheme not in schemes or not has_place or parts.port == 0:
                raise ValueError
            return text

        beginnings = " or ".join(f"{scheme}://" for scheme in schemes)
        return self.read_variable(name, default, parse_url, f"a URL that begins with {beginnings}")

    def read_database_url(self, name: str, default: str) -> str:
        """Read the URL of a database."""
        return self.read_variable(name, default, check_database_url, DATABASE_FORMS)

    def read_folder(self, name: str, default: Path, beside: Path) -> Path:
        """Read the path of a directory.

        A relative path in the `.env` file begins in the directory of that file (`beside`).
        """

        def parse_folder(text: str) -> Path:
            path = Path(check_text(text)).expanduser()
            return (beside / path if self.find_variable(name)[1] == ENV_FILE else path).absolute()

        return self.read_variable(name, default.absolute(), parse_folder, "the path of a directory")

    def read_variable(
        self,
        name: str,
        default: Value,
        parse: Callable[[str], Value],
        allowed: str,
        is_secret: bool = False,
    ) -> Value:
        """Parse the variable, and note it in `declared_settings`.

        A ValueError or OverflowError of `parse` becomes a problem, and the default is returned.
        """
        text, source = self.find_variable(name)
        value = default
        if text:
            try:
                value = parse(text)
            except (ValueError, OverflowError):
                self.problems.append(describe_bad_value(name, text, allowed, is_secret, source))
        self.declared_settings[name] = DeclaredSetting(name, value, source, allowed, is_secret)
        return value

    # --- problems and warnings ------------------------------------------------------------------
    def add_problem(self, line: str) -> None:
        """Note a problem that only the settings file can find."""
        self.problems.append(line)

    def add_spelling_warnings(self, known: Iterable[str] = ()) -> None:
        """Note a warning for each variable whose name is almost that of a setting.

        `known` are further names that are right.
        """
        names = {*self.declared_settings, *known}
        for given in sorted(set(self.variables) - names):
            if meant := find_similar_name(given, names):
                self.warnings.append(
                    f"{given} is no setting, and is not read: did you mean {meant}?"
                )
            elif given.startswith(OUR_PREFIX):
                self.warnings.append(
                    f"{given} is no setting, and is not read: `make settings` lists them."
                )

    def raise_problems(self) -> None:
        """Raise InvalidSettings with one line for each problem, if there is one."""
        if self.problems:
            raise InvalidSettings("\n".join(self.problems))


class SettingsEnvironment(Environment):
    """The environment with the method names of django-environ as well."""

    def int(self, name: builtins.str, default: builtins.int) -> builtins.int:
        return self.read_count(name, default, least=0)

    def float(self, name: builtins.str, default: builtins.float) -> builtins.float:
        return self.read_number(name, default)

    def bool(self, name: builtins.str, default: builtins.bool) -> builtins.bool:
        return self.read_switch(name, default)

    def str(self, name: builtins.str, default: builtins.str = "") -> builtins.str:
        return self.read_plain_text(name, default)

    def list(
        self, name: builtins.str, default: builtins.list[builtins.str]
    ) -> builtins.list[builtins.str]:
        return self.read_names(name, default)


def load_environment(file: Path) -> SettingsEnvironment:
    """Return the environment of this process, completed by the `.env` file.

    Changes os.environ, so that processes that this one starts see the same values.
    """
    variables: MutableMapping[str, str] = environ.Env.ENVIRON
    before = set(variables)
    environ.Env.read_env(str(file))
    found = SettingsEnvironment(
        variables, {name: ENV_FILE for name in variables if name not in before}
    )
    for name, value in find_commented_values(file):
        if found.find_source(name) == ENV_FILE:
            variables[name] = value
    if file.is_file() and not is_readable(file):
        found.warnings.append(f"{file} cannot be read: its settings are not in force.")
    return found


def find_commented_values(file: Path) -> list[tuple[str, str]]:
    """Return the (name, value) pairs of a `.env` file whose value is followed by a comment.

    The comment is removed; django-environ would take it for a part of the value. A comment begins
    with a space and #. A quoted value has none.
    """
    if not is_readable(file):
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    found = (COMMENTED_LINE.fullmatch(line) for line in lines)
    return [(match["name"], match["value"]) for match in found if match is not None]


def is_readable(file: Path) -> bool:
    try:
        with file.open("rb"):
            return True
    except OSError:
        return False
