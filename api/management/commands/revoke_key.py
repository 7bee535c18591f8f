"""`revoke_key`: refuse one API key from now on."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from api import keys
from api.models import ApiKey
from providers.management.base import GatewayCommand

MOST_NAMED_KEYS = 5  # keys named in the error when the prefix fits several


class Command(GatewayCommand):
    help = "Revoke an API key; every process refuses it in under a second."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "prefix", help="how the key begins, as the admin shows it, for example sk-ps-Ab12Cd34Ef"
        )
        parser.add_argument("--dry-run", action="store_true", help="find it, change nothing")

    def handle(self, *args: Any, prefix: str, dry_run: bool, **options: Any) -> None:
        key = find_key(prefix.strip().rstrip("….")[: keys.SHOWN_LENGTH])
        if key.revoked_at is not None:
            self.stdout.write(f"Key {key} of {key.user} was revoked already.")
        elif dry_run:
            self.stdout.write(f"Key {key} of {key.user} would be revoked.")
        else:
            ApiKey.objects.filter(pk=key.pk).revoke()
            self.stdout.write(f"Key {key} of {key.user} is revoked.")


def find_key(prefix: str) -> ApiKey:
    """Return the only key that begins so; SQLite's own comparison ignores case.

    Raises CommandError.
    """
    if not prefix:
        raise CommandError("Give the beginning of a key.")
    rows = ApiKey.objects.filter(prefix__startswith=prefix).select_related("user")
    matches = [key for key in rows[: MOST_NAMED_KEYS + 1] if key.prefix.startswith(prefix)]
    if not matches:
        raise CommandError(f"No key begins with {prefix}.")
    if len(matches) > 1:
        names = ", ".join(f"{key} ({key.user})" for key in matches[:MOST_NAMED_KEYS])
        if len(matches) > MOST_NAMED_KEYS:
            names += ", …"
        raise CommandError(f"Several keys begin so: {names}. Give more of it.")
    return matches[0]
