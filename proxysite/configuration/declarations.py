"""Settings read from variables: each is declared once, with its type and range. No Django in here.

A value comes from the environment, else from the `.env` file, else from a running gateway
(`suggest`), else it is the default. A value that is not allowed becomes a line in `problems`, and
`raise_problems` ends the program with these lines. `declared` holds the values in force and their
sources.
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
    ENVIRONMENT,
    FALSE,
    FILE,
    HOST_NAME,
    LONGEST_TIMER_SECONDS,
    MOST,
    ORIGIN,
    TEN_YEARS_SECONDS,
    TRUE,
    check_database_url,
    check_each,
    check_range,
    check_text,
    describe_fault,
    describe_range,
    find_meant,
    split_list,
)

Value = TypeVar("Value")
Network = IPv4Network | IPv6Network
COMMENTED = re.compile(r"(?:export )?(?P<name>\w+)=(?P<value>(?:[^\s'\"].*?)?)\s+#.*")
OURS = "PROXYSITE_"


class InvalidSettings(SystemExit):
    """Settings that cannot be used.

    The interpreter prints the lines to standard error and exits with status 1.
    """


@dataclass(frozen=True, slots=True)
class Declared:
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
        self.declared: dict[str, Declared] = {}
        self._sources = sources or {}
        self._suggested: dict[str, tuple[str, str]] = {}

    # --- where values come from -----------------------------------------------------------------
    def suggest(self, name: str, value: str, source: str) -> None:
        """Use `value` where the variable is not set at all."""
        if name not in self.variables:
            self._suggested[name] = value, source

    def read_aliases(self, aliases: dict[str, str]) -> None:
        """Remember which variables were set from another program's.

        `aliases` maps our name to theirs.
        """
        for ours, theirs in aliases.items():
            self._sources[ours] = f"{theirs} of the {self.source_of(theirs)}"

    def source_of(self, name: str) -> str:
        """Return where the value of a variable that is set comes from, in a word."""
        return self._sources.get(name, ENVIRONMENT)

    def find(self, name: str) -> tuple[str, str]:
        """Return the variable's text and its source; ("", "default") when it is not set."""
        if text := self.variables.get(name, "").strip():
            return text, self.source_of(name)
        return self._suggested.get(name, ("", DEFAULT))

    # --- kinds of settings ----------------------------------------------------------------------
    def count(self, name: str, default: int, least: int = 1, most: int = MOST) -> int:
        """Read a whole number."""

        def parse(text: str) -> int:
            return check_range(int(text), least, most)

        return self.read(name, default, parse, f"a whole number {describe_range(least, most)}")

    def number(self, name: str, default: float, least: float = 0, most: float = MOST) -> float:
        """Read a number that may have a fraction."""

        def parse(text: str) -> float:
            return check_range(float(text), least, most)

        return self.read(name, float(default), parse, f"a number {describe_range(least, most)}")

    def seconds(self, name: str, default: float, least: float = 0.001) -> float:
        """Read a time-out or a pause in seconds."""
        return self.number(name, default, least, LONGEST_TIMER_SECONDS)

    def whole_seconds(self, name: str, default: int, least: int = 1) -> int:
        """Read a time in whole seconds; 0 is allowed only where `least` is 0."""
        return self.count(name, default, least, TEN_YEARS_SECONDS)

    def size_bytes(self, name: str, default: int, least: int = 1) -> int:
        return self.count(name, default, least)

    def share(self, name: str, default: float) -> float:
        """Read a part of a whole: from 0.01 to 1."""
        return self.number(name, default, 0.01, 1)

    def switch(self, name: str, default: bool) -> bool:
        def parse(text: str) -> bool:
            if text.lower() not in TRUE + FALSE:
                raise ValueError
            return text.lower() in TRUE

        return self.read(name, default, parse, "true or false")

    def choice(self, name: str, default: str, values: Iterable[str]) -> str:
        """Read one of `values` in any case, and return it as `values` spells it."""
        spelt = {value.lower(): value for value in values}

        def parse(text: str) -> str:
            if text.lower() not in spelt:
                raise ValueError
            return spelt[text.lower()]

        return self.read(name, default, parse, f"one of {', '.join(spelt.values())}")

    def text(self, name: str, default: str = "") -> str:
        return self.read(name, default, check_text, "")

    def secret(self, name: str, default: str = "") -> str:
        """Read a text that must never be shown."""
        return self.read(name, default, check_text, "", is_secret=True)

    def names(self, name: str, default: list[str], is_secret: bool = False) -> list[str]:
        """Read a list of texts, separated by commas."""
        return self.read(name, default, split_list, "", is_secret)

    def host_names(self, name: str, default: list[str]) -> list[str]:
        """Read the host names by which a site is reached."""

        def parse(text: str) -> list[str]:
            return check_each(split_list(text), HOST_NAME)

        allowed = (
            "host names without https:// and port, comma separated: "
            "gateway.example,192.168.1.5,[::1]"
        )
        return self.read(name, default, parse, allowed)

    def origins(self, name: str, default: list[str], wildcard: bool = False) -> list[str]:
        """Read the origins of web pages; with `wildcard` an origin may also be `*`."""

        def parse(text: str) -> list[str]:
            given = split_list(text)
            check_each([entry for entry in given if not (wildcard and entry == "*")], ORIGIN)
            return given

        allowed = "origins, comma separated: https://app.example,http://localhost:3000"
        return self.read(name, default, parse, allowed)

    def networks(self, name: str, default: list[Network]) -> list[Network]:
        """Read networks and addresses; an address is a network of one."""

        def parse(text: str) -> list[Network]:
            return [ip_network(part, strict=False) for part in split_list(text)]

        return self.read(
            name, default, parse, "addresses or networks such as 10.0.0.0/8, comma separated"
        )

    def url(self, name: str, default: str, schemes: tuple[str, ...]) -> str:
        """Read a URL with a host.

        An error does not repeat its value, which may hold a password.
        """

        def parse(text: str) -> str:
            parts = urlsplit(text)
            has_place = parts.hostname or (parts.scheme == "unix" and parts.path)
            if parts.scheme not in schemes or not has_place or parts.port == 0:
                raise ValueError
            return text

        beginnings = " or ".join(f"{scheme}://" for scheme in schemes)
        return self.read(name, default, parse, f"a URL that begins with {beginnings}")

    def database_url(self, name: str, default: str) -> str:
        """Read the URL of a database."""
        return self.read(name, default, check_database_url, DATABASE_FORMS)

    def folder(self, name: str, default: Path, beside: Path) -> Path:
        """Read the path of a directory.

        A relative path in the `.env` file begins in the directory of that file (`beside`).
        """

        def parse(text: str) -> Path:
            path = Path(check_text(text)).expanduser()
            return (beside / path if self.find(name)[1] == FILE else path).absolute()

        return self.read(name, default.absolute(), parse, "the path of a directory")

    def read(
        self,
        name: str,
        default: Value,
        parse: Callable[[str], Value],
        allowed: str,
        is_secret: bool = False,
    ) -> Value:
        """Parse the variable, and note it in `declared`.

        A ValueError or OverflowError of `parse` becomes a problem, and the default is returned.
        """
        text, source = self.find(name)
        value = default
        if text:
            try:
                value = parse(text)
            except (ValueError, OverflowError):
                self.problems.append(describe_fault(name, text, allowed, is_secret, source))
        self.declared[name] = Declared(name, value, source, allowed, is_secret)
        return value

    # --- problems and warnings ------------------------------------------------------------------
    def refuse(self, line: str) -> None:
        """Note a problem that only the settings file can find."""
        self.problems.append(line)

    def warn_of_slips(self, known: Iterable[str] = ()) -> None:
        """Note a warning for each variable whose name is almost that of a setting.

        `known` are further names that are right.
        """
        names = {*self.declared, *known}
        for given in sorted(set(self.variables) - names):
            if meant := find_meant(given, names):
                self.warnings.append(
                    f"{given} is no setting, and is not read: did you mean {meant}?"
                )
            elif given.startswith(OURS):
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
        return self.count(name, default, least=0)

    def float(self, name: builtins.str, default: builtins.float) -> builtins.float:
        return self.number(name, default)

    def bool(self, name: builtins.str, default: builtins.bool) -> builtins.bool:
        return self.switch(name, default)

    def str(self, name: builtins.str, default: builtins.str = "") -> builtins.str:
        return self.text(name, default)

    def list(
        self, name: builtins.str, default: builtins.list[builtins.str]
    ) -> builtins.list[builtins.str]:
        return self.names(name, default)


def load(file: Path) -> SettingsEnvironment:
    """Return the environment of this process, completed by the `.env` file.

    Changes os.environ, so that processes that this one starts see the same values.
    """
    variables: MutableMapping[str, str] = environ.Env.ENVIRON
    before = set(variables)
    environ.Env.read_env(str(file))
    found = SettingsEnvironment(variables, {name: FILE for name in variables if name not in before})
    for name, value in find_commented(file):
        if found.source_of(name) == FILE:
            variables[name] = value
    if file.is_file() and not is_readable(file):
        found.warnings.append(f"{file} cannot be read: its settings are not in force.")
    return found


def find_commented(file: Path) -> list[tuple[str, str]]:
    """Return the (name, value) pairs of a `.env` file whose value is followed by a comment.

    The comment is removed; django-environ would take it for a part of the value. A comment begins
    with a space and #. A quoted value has none.
    """
    if not is_readable(file):
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    found = (COMMENTED.fullmatch(line) for line in lines)
    return [(match["name"], match["value"]) for match in found if match is not None]


def is_readable(file: Path) -> bool:
    try:
        with file.open("rb"):
            return True
    except OSError:
        return False
