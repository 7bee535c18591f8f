"""The command `export_tokens`: write tokens and accounts with their secrets to standard output."""

import os
import sys
from argparse import ArgumentParser
from getpass import getpass
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import CommandError

from providers.management.base import GatewayCommand
from providers.management.command_helpers import find_provider
from tokens.exports import export_log
from tokens.exports.encrypted_bundle import MIN_PASSPHRASE_CHARS
from tokens.exports.token_export import EXPORT_FORMS, stream_export
from tokens.models import State, UpstreamToken
from tokens.querysets import DELETED_REASON, TokenQuerySet

PASSPHRASE_VARIABLE = "EXPORT_PASSPHRASE"  # noqa: S105 - the name of a variable
READABLE_BY_OWNER = 0o600


class Command(GatewayCommand):
    help = (
        "Export the tokens and accounts of a provider, with their secrets, to standard output or "
        "a file. import_tokens reads every form."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("provider", nargs="?", help="name of the provider")
        parser.add_argument("--all", action="store_true", help="of all providers")
        parser.add_argument(
            "--state", choices=State.values, help="only tokens in this state, for example active"
        )
        parser.add_argument("--format", choices=["lines", "json", "csv"], default="lines")
        parser.add_argument(
            "--encrypt",
            action="store_true",
            help=f"encrypt it with a passphrase: that of {PASSPHRASE_VARIABLE}, or a typed one",
        )
        parser.add_argument("--output", help="a new file instead of standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        tokens = self.choose_tokens(options)
        form = "bundle" if options["encrypt"] else options["format"]
        passphrase = read_new_passphrase() if options["encrypt"] else ""
        count = tokens.count()
        export_log.record_export(None, tokens, form, describe_choice(options))
        pieces = stream_export(tokens, form, passphrase)
        if options["output"]:
            with open_new_file(options["output"]) as file:
                file.writelines(pieces)
        else:
            self.stdout.writelines(pieces)
        self.stderr.write(f"{count} tokens exported: {EXPORT_FORMS[form].label}.")

    def choose_tokens(self, options: dict[str, Any]) -> TokenQuerySet:
        """Return the tokens to be exported. Raises CommandError."""
        if bool(options["provider"]) == options["all"]:
            raise CommandError("Name a provider, or use --all.")
        tokens: TokenQuerySet = UpstreamToken.objects.exclude(
            state=State.DISABLED, reason=DELETED_REASON
        )
        if options["provider"]:
            tokens = tokens.filter(provider=find_provider(options["provider"]))
        if options["state"]:
            tokens = tokens.filter(state=options["state"])
        return tokens


def describe_choice(options: dict[str, Any]) -> str:
    """Return which tokens are exported, for the log."""
    provider = options["provider"] or "all providers"
    state = f", {options['state']}" if options["state"] else ""
    return f"{provider}{state}"


def read_new_passphrase() -> str:
    """Return the passphrase of the environment, or one typed twice. Raises CommandError."""
    passphrase = os.environ.get(PASSPHRASE_VARIABLE, "")
    if not passphrase:
        if not sys.stdin.isatty():
            raise CommandError(f"--encrypt needs a passphrase: set {PASSPHRASE_VARIABLE}.")
        passphrase = getpass("Passphrase: ")
        if getpass("The same again: ") != passphrase:
            raise CommandError("The two passphrases differ.")
    if len(passphrase) < MIN_PASSPHRASE_CHARS:
        raise CommandError(f"The passphrase needs at least {MIN_PASSPHRASE_CHARS} characters.")
    return passphrase


def open_new_file(path: str) -> TextIO:
    """Return a new file that only its owner can read. Raises CommandError."""
    try:
        descriptor = os.open(Path(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, READABLE_BY_OWNER)
    except OSError as error:
        raise CommandError(f"Cannot write {path}: {error.strerror}.") from None
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")
