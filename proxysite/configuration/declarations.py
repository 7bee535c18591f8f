"""Settings read from variables: each is declared once, with its type, range and help. No Django.

A value comes from the environment, else from the `.env` file, else from a running gateway
(`suggest_value`), else it is the default. A value that is not allowed becomes a line in
`problems`, and `raise_problems` ends the program with these lines. `declared_settings` holds the
values in force and their sources; `docs/settings.md` and `.env.example` are written from it
(`proxysite.configuration.settings_pages`).
"""

from collections.abc import Iterable, MutableMapping
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeVar

from proxysite.configuration import setting_values
from proxysite.configuration.setting_types import DeclaredSetting, InvalidSettings, ValueKind
from proxysite.configuration.setting_values import (
    DATABASE_FORMS,
    DEFAULT,
    ENV_FILE,
    ENVIRONMENT,
    LARGEST_NUMBER,
    LONGEST_TIMER_SECONDS,
    TEN_YEARS_SECONDS,
    check_text,
    describe_bad_value,
    describe_range,
    find_similar_name,
)

Value = TypeVar("Value")
Network = IPv4Network | IPv6Network
OUR_PREFIX = "PROXYSITE_"


class Environment:
    """The variables of this process, with methods that declare and read settings.

    An empty variable counts as one that is not set. `help_text` is one sentence for a person who
    edits the setting. `groups` has the title of each group and a sentence about it.
    """

    def __init__(
        self, variables: MutableMapping[str, str], sources: dict[str, str] | None = None
    ) -> None:
        self.variables = variables
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.groups: dict[str, str] = {}
        self.declared_settings: dict[str, DeclaredSetting] = {}
        self._group = ""
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

    # --- declarations ---------------------------------------------------------------------------
    def begin_group(self, title: str, help_text: str = "") -> None:
        """Begin a group: the settings that follow belong to it."""
        self._group = title
        self.groups[title] = help_text

    def read_count(
        self,
        name: str,
        default: int,
        help_text: str = "",
        least: int = 1,
        most: int = LARGEST_NUMBER,
    ) -> int:
        """Read a whole number."""
        parse = partial(setting_values.parse_whole_number, least=least, most=most)
        kind = ValueKind(parse, f"a whole number {describe_range(least, most)}")
        return self.read_variable(name, default, help_text, kind)

    def read_number(
        self,
        name: str,
        default: float,
        help_text: str = "",
        least: float = 0,
        most: float = LARGEST_NUMBER,
    ) -> float:
        """Read a number that may have a fraction."""
        parse = partial(setting_values.parse_number, least=least, most=most)
        kind = ValueKind(parse, f"a number {describe_range(least, most)}")
        return self.read_variable(name, float(default), help_text, kind)

    def read_seconds(
        self, name: str, default: float, help_text: str = "", least: float = 0.001
    ) -> float:
        """Read a time-out or a pause in seconds."""
        return self.read_number(name, default, help_text, least, LONGEST_TIMER_SECONDS)

    def read_whole_seconds(
        self, name: str, default: int, help_text: str = "", least: int = 1
    ) -> int:
        """Read a time in whole seconds; 0 is allowed only where `least` is 0."""
        return self.read_count(name, default, help_text, least, TEN_YEARS_SECONDS)

    def read_size_bytes(self, name: str, default: int, help_text: str = "", least: int = 1) -> int:
        return self.read_count(name, default, help_text, least)

    def read_share(self, name: str, default: float, help_text: str = "") -> float:
        """Read a part of a whole: from 0.01 to 1."""
        return self.read_number(name, default, help_text, 0.01, 1)

    def read_switch(self, name: str, default: bool, help_text: str = "") -> bool:
        kind = ValueKind(setting_values.parse_switch, "true or false")
        return self.read_variable(name, default, help_text, kind)

    def read_choice(
        self, name: str, default: str, help_text: str = "", values: Iterable[str] = ()
    ) -> str:
        """Read one of `values` in any case, and return it as `values` spells it."""
        spellings = {value.lower(): value for value in values}
        parse = partial(setting_values.parse_choice, spellings=spellings)
        kind = ValueKind(parse, f"one of {', '.join(spellings.values())}")
        return self.read_variable(name, default, help_text, kind)

    def read_plain_text(self, name: str, default: str = "", help_text: str = "") -> str:
        return self.read_variable(name, default, help_text, ValueKind(check_text))

    def read_secret(self, name: str, help_text: str = "") -> str:
        """Read a text that must never be shown."""
        return self.read_variable(name, "", help_text, ValueKind(check_text, is_secret=True))

    def read_names(
        self, name: str, default: list[str], help_text: str = "", is_secret: bool = False
    ) -> list[str]:
        """Read a list of texts, separated by commas."""
        kind = ValueKind(setting_values.split_list, "texts, comma separated", is_secret)
        return self.read_variable(name, default, help_text, kind)

    def read_host_names(self, name: str, default: list[str], help_text: str = "") -> list[str]:
        """Read the host names by which a site is reached."""
        allowed = (
            "host names without https:// and port, comma separated: "
            "gateway.example,192.168.1.5,[::1]"
        )
        kind = ValueKind(setting_values.parse_host_names, allowed)
        return self.read_variable(name, default, help_text, kind)

    def read_origins(
        self, name: str, default: list[str], help_text: str = "", wildcard: bool = False
    ) -> list[str]:
        """Read the origins of web pages; with `wildcard` an origin may also be `*`."""
        parse = partial(setting_values.parse_origins, wildcard=wildcard)
        kind = ValueKind(
            parse, "origins, comma separated: https://app.example,http://localhost:3000"
        )
        return self.read_variable(name, default, help_text, kind)

    def read_networks(
        self, name: str, default: list[Network], help_text: str = ""
    ) -> list[Network]:
        """Read networks and addresses; an address is a network of one."""
        allowed = "addresses or networks such as 10.0.0.0/8, comma separated"
        kind = ValueKind(setting_values.parse_networks, allowed)
        return self.read_variable(name, default, help_text, kind)

    def read_emails(self, name: str, default: list[str], help_text: str = "") -> list[str]:
        """Read a list of e-mail addresses."""
        allowed = "e-mail addresses, comma separated: alice@example.com,bob@example.com"
        kind = ValueKind(setting_values.parse_emails, allowed)
        return self.read_variable(name, default, help_text, kind)

    def read_url(
        self, name: str, default: str, help_text: str = "", schemes: tuple[str, ...] = ()
    ) -> str:
        """Read a URL with a host.

        An error does not repeat its value, which may hold a password.
        """
        beginnings = " or ".join(f"{scheme}://" for scheme in schemes)
        parse = partial(setting_values.parse_url, schemes=schemes)
        kind = ValueKind(parse, f"a URL that begins with {beginnings}")
        return self.read_variable(name, default, help_text, kind)

    def read_database_url(self, name: str, default: str, help_text: str = "") -> str:
        """Read the URL of a database.

        Its default depends on the home, so that its declaration has none.
        """
        kind = ValueKind(setting_values.check_database_url, DATABASE_FORMS)
        url = self.read_variable(name, default, help_text, kind)
        self.declared_settings[name] = replace(self.declared_settings[name], default="")
        return url

    def read_folder(self, name: str, default: str, help_text: str = "", *, beside: Path) -> Path:
        """Read the path of a directory.

        A relative path in the `.env` file, and the default, begin in the directory of that file
        (`beside`).
        """

        def parse_folder(text: str) -> Path:
            path = Path(check_text(text)).expanduser()
            is_written_beside = self.find_variable(name)[1] in (ENV_FILE, DEFAULT)
            return (beside / path if is_written_beside else path).absolute()

        kind: ValueKind[Path | str] = ValueKind(parse_folder, "the path of a directory")
        path = self.read_variable(name, default, help_text, kind)
        return path if isinstance(path, Path) else (beside / path).absolute()

    def read_variable(
        self, name: str, default: Value, help_text: str, kind: ValueKind[Value]
    ) -> Value:
        """Parse the variable, and note it in `declared_settings`.

        A value that is not allowed becomes a problem, and the default is returned.
        """
        text, source = self.find_variable(name)
        value = default
        if text:
            try:
                value = kind.parse(text)
            except (ValueError, OverflowError):
                self.problems.append(
                    describe_bad_value(name, text, kind.allowed, kind.is_secret, source)
                )
        self.declared_settings[name] = DeclaredSetting(
            name, value, source, default, help_text, self._group, kind.allowed, kind.is_secret
        )
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
        for variable in sorted(set(self.variables) - names):
            if similar_name := find_similar_name(variable, names):
                self.warnings.append(
                    f"{variable} is no setting, and is not read: did you mean {similar_name}?"
                )
            elif variable.startswith(OUR_PREFIX):
                self.warnings.append(
                    f"{variable} is no setting, and is not read: `make settings` lists them."
                )

    def raise_problems(self) -> None:
        """Raise InvalidSettings with one line for each problem, if there is one."""
        if self.problems:
            raise InvalidSettings("\n".join(self.problems))
