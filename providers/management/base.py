"""The base of all commands of this project.

Options cannot be abbreviated, and a person's mistake is reported in one line.
"""

from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser


class StrictParser(CommandParser):
    """A parser that reports a mistake in one line, instead of the usage of all options."""

    def error(self, message: str) -> NoReturn:
        sentence = f"{message[:1].upper()}{message[1:]}".rstrip(".")
        raise CommandError(f"{sentence}. See: manage.py {self.prog.split()[-1]} --help")


class GatewayCommand(BaseCommand):
    """A command that works on the gateway's rows.

    A command with `needs_database` is refused before the first `serve`. A command with `writes`
    names the database that it writes to, and is refused where that is not the database of the
    running gateway (`proxysite.command_line`).
    """

    needs_database = True
    writes = True

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser; abbreviations are off, so `--mode` is never read as `--model`."""
        parser = super().create_parser(prog_name, subcommand, **kwargs | {"allow_abbrev": False})
        parser.__class__ = StrictParser
        return parser
