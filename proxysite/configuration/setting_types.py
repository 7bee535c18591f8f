"""The types of settings: a kind of value, a setting as it is in force, and settings that fail."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class InvalidSettings(SystemExit):
    """Settings that cannot be used.

    The interpreter prints the lines to standard error and exits with status 1.
    """


@dataclass(frozen=True, slots=True)
class ValueKind(Generic[Value]):
    """One kind of value: how its text is parsed, and in words which values are allowed.

    `parse` raises ValueError or OverflowError. `allowed` is "" when any text is allowed.
    """

    parse: Callable[[str], Value]
    allowed: str = ""
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class DeclaredSetting:
    """One setting as it is in force: its declaration, its value and the source of the value."""

    name: str
    value: Any
    source: str
    default: Any
    help_text: str
    group: str
    allowed: str
    is_secret: bool = False
