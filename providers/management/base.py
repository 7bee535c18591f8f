"""The base of all commands of this project: no abbreviated options, and one line for a person's
mistake.
"""

from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser


class StrictParser(CommandParser):
    """Reports a mistake in one line, instead of the usage of all options."""

    def error(self, message: str) -> NoReturn:
        sentence = f"{message[:1].upper()}{message[1:]}".rstrip(".")
        raise CommandError(f"{sentence}. See: manage.py {self.prog.split()[-1]} --help")


class GatewayCommand(BaseCommand):
    """A command that works on the gateway's rows.

    `needs_database`: it is refused before the first `serve`. `writes`: it says to which database it
    writes, and is refused where that is not the one of the gateway that runs
    (`proxysite.command_line`).
    """

    needs_database = True
    writes = True

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser; `--mode` is never read as `--model`."""
        parser = super().create_parser(prog_name, subcommand, **kwargs | {"allow_abbrev": False})
        parser.__class__ = StrictParser
        return parser
