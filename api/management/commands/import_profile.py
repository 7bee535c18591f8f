"""`import_profile`: import a configuration file of OpenKimi or O1-API as a virtual model.

Its model, provider, token and the key of its callers are created if they do not exist.
"""

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from api import shared_keys
from conversations.profiles import profile_import, profile_reader
from providers.management.base import GatewayCommand
from providers.management.command_helpers import describe_validation_error
from tokens.imports import token_import

MAX_BYTES = 4 * profile_reader.MAX_CHARS  # a character has at most four bytes


class Command(GatewayCommand):
    help = "Import OpenKimi's config.json or O1-API's config.yaml as a virtual model."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="path of the file")
        parser.add_argument("--base", default="", metavar="MODEL", help="use this existing model")
        parser.add_argument(
            "--name",
            default="",
            metavar="MODEL",
            help="the name that callers use, for example o1-kimi-k2",
        )
        parser.add_argument(
            "--allow-private",
            action="store_true",
            help="allow an address on this machine or network, and plain http",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="check and report, write nothing"
        )

    def handle(self, *args: Any, file: str, dry_run: bool, **options: Any) -> None:
        try:
            profile = read_profile_file(Path(file))
            with transaction.atomic():
                names = {"base": options["base"], "name": options["name"]}
                lines = profile_import.save_profile_rows(
                    profile, **names, allow_private=options["allow_private"]
                )
                lines += save_callers_key(profile, profile_import.find_public_id(profile, **names))
                transaction.set_rollback(dry_run)
        except OSError as error:
            raise CommandError(f"Cannot read {file}: {error.strerror}.") from None
        except (profile_reader.ProfileRefused, token_import.UnreadableFile) as error:
            raise CommandError(str(error)) from None
        except ValidationError as error:
            raise CommandError(describe_validation_error(error)) from None
        if dry_run:
            lines.append("Nothing was written: --dry-run.")
        self.stdout.write("\n".join(lines))


def save_callers_key(profile: profile_reader.Profile, public_id: str) -> list[str]:
    """Write the file's key for callers, with the virtual model as its default; return lines."""
    if not profile.callers_key:
        return []
    line = shared_keys.add_shared_key("api_bearer_token", profile.callers_key, public_id)
    if shared_keys.find_shared_key_problem(profile.callers_key):
        line += " Give callers keys of their own: manage.py issue_key USER."
    return [line] if line else ["api_bearer_token: there already."]


def read_profile_file(path: Path) -> profile_reader.Profile:
    """Read a configuration file. Raises OSError, UnreadableFile, ProfileRefused."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    text = "\n".join(token_import.decode_text_file(data))
    return profile_reader.read_profile(text, os.environ)
