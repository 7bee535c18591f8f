"""`issue_key`: issue an API key for a user; the last line of output is the key alone."""

import re
import sys
from argparse import ArgumentParser
from datetime import timedelta
from getpass import getpass
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction
from django.utils import timezone

from api import keys
from api.management.limit_options import add_limit_arguments, read_limit_columns
from api.models import ApiKey
from providers.management.base import GatewayCommand
from providers.management.command_helpers import describe_validation_error
from tokens.secret_check import require_secrets

LIFETIME_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Command(GatewayCommand):
    help = (
        "Issue an API key for a user, who is created when new. The key is shown once, alone on "
        "the last line."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="user name")
        parser.add_argument("--name", default="", help="what the key is for")
        parser.add_argument(
            "--models",
            default="",
            help="comma separated; the key may use only these, with * for any characters, as in "
            "gpt-5*; each must name a model that exists (default: all)",
        )
        parser.add_argument(
            "--expires",
            default="",
            metavar="30d",
            help="refused after this time: a number with m, h, d or w (default: never)",
        )
        parser.add_argument(
            "--default-model",
            default="",
            metavar="MODEL",
            help="answers requests that name no model (default: they are refused)",
        )
        parser.add_argument(
            "--existing-key",
            action="store_true",
            help="take a key that callers have already: asked for, or read from standard input, so "
            "that no list of processes shows it",
        )
        parser.add_argument(
            "--no-storing",
            action="store_true",
            help="store nothing that is sent with it: no conversations, no files",
        )
        parser.add_argument(
            "--sessions",
            action="store_true",
            help="requests with the same session_id are one conversation, as in OpenKimi",
        )
        parser.add_argument("--dry-run", action="store_true", help="check, change nothing")
        add_limit_arguments(parser)

    def handle(
        self,
        *args: Any,
        user: str,
        name: str,
        models: str,
        expires: str,
        dry_run: bool,
        **options: Any,
    ) -> None:
        require_secrets()
        model_names = parse_model_names(models)
        lifetime = parse_lifetime(expires)
        if problem := keys.find_default_model_problem(options["default_model"], model_names):
            raise CommandError(f"{problem} `list_models` shows what there is.")
        fields = {
            "limits": read_limit_columns(options) or None,
            "name": name,
            "expires_at": timezone.now() + lifetime if lifetime else None,
            "stores_content": not options["no_storing"],
            "remembers_sessions": options["sessions"],
            "default_model": options["default_model"],
        }
        existing_key = read_existing_key() if options["existing_key"] else ""
        try:
            with transaction.atomic():
                row, key = write_key(find_or_create_user(user), existing_key, model_names, fields)
                transaction.set_rollback(dry_run)
        except ValidationError as error:
            raise CommandError(describe_validation_error(error)) from None
        if dry_run:
            self.stdout.write(f"A key for {user} would be issued.")
            return
        if existing_key:
            self.stdout.write(f"Key {row.prefix} is a key of {user} now.")
            return
        self.stderr.write(
            f"Key {row.prefix}… for {user}; it is not shown again:", self.style.SUCCESS
        )
        self.stdout.write(key)


def write_key(
    owner: User, existing_key: str, model_names: list[str], fields: dict[str, Any]
) -> tuple[ApiKey, str]:
    """Write the row of an existing key, or of a new one; return it and the new key, or ""."""
    if existing_key:
        return keys.add_existing_key(owner, existing_key, allowed_models=model_names, **fields), ""
    return keys.create_key(owner, models=model_names, **fields)


def parse_model_names(text: str) -> list[str]:
    """Return the model names and patterns of a comma-separated list.

    Raises CommandError when one of them names no model that exists.
    """
    names = list(filter(None, map(str.strip, text.split(","))))
    if unknown := keys.find_unknown_models(names):
        raise CommandError(
            f"No such model: {', '.join(unknown)}. `list_models` shows what there is."
        )
    return names


def find_or_create_user(name: str) -> User:
    """Return the active user of this name; a new one is created without a password.

    Raises CommandError.
    """
    user = User.objects.filter(username=name).first()
    if user is None:
        user = User(username=name)
        user.set_unusable_password()
        try:
            user.full_clean(exclude=["password"])
        except ValidationError as error:
            problems = " ".join(error.messages)
            raise CommandError(f"{name!r} cannot be a user name: {problems}") from None
        user.save()
    if not user.is_active:
        raise CommandError(f"The user {name} is not active.")
    return user


def read_existing_key() -> str:
    """Ask for a key on a terminal, without showing it, or read the line of standard input.

    Raises CommandError when it cannot be a key, or is one here already.
    """
    key = getpass("Key: ") if sys.stdin.isatty() else sys.stdin.readline()
    key = key.strip()
    if problem := keys.find_key_problem(key):
        raise CommandError(f"This cannot be a key: {problem}.")
    if row := keys.find_key_row(key):
        raise CommandError(f"This key is known here already: {row.prefix} of {row.user}.")
    return key


def parse_lifetime(text: str) -> timedelta | None:
    """Return the time that a text such as `30d` means, or None for an empty text.

    Raises CommandError.
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    if not match or int(match[1]) == 0:
        raise CommandError(
            f"{text!r} is not a time: write a number with m, h, d or w, for example 30d."
        )
    return timedelta(**{LIFETIME_UNITS[match[2]]: int(match[1])})
