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
        begins = prefix.strip().rstrip("….")[: keys.SHOWN_LENGTH]
        if not begins:
            raise CommandError("Give the beginning of a key.")
        found = ApiKey.objects.filter(prefix__startswith=begins).select_related("user")
        rows = [key for key in found[: MOST_NAMED_KEYS + 1] if key.prefix.startswith(begins)]
        if not rows:
            raise CommandError(f"No key begins with {begins}.")
        if len(rows) > 1:
            names = ", ".join(f"{key} ({key.user})" for key in rows[:MOST_NAMED_KEYS])
            if len(rows) > MOST_NAMED_KEYS:
                names += ", …"
            raise CommandError(f"Several keys begin so: {names}. Give more of it.")
        key = rows[0]
        if key.revoked_at is not None:
            self.stdout.write(f"Key {key} of {key.user} was revoked already.")
            return
        if not dry_run:
            ApiKey.objects.filter(pk=key.pk).revoke()
        self.stdout.write(
            f"Key {key} of {key.user} {'would be revoked' if dry_run else 'is revoked'}."
        )
