"""`revoke_key`: refuse one API key from now on."""

from argparse import ArgumentParser
from typing import Any

from api.management.find_rows import PREFIX_HELP, find_key
from api.models import ApiKey
from providers.management.base import GatewayCommand


class Command(GatewayCommand):
    help = "Revoke an API key; every process refuses it in under a second."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("prefix", help=PREFIX_HELP)
        parser.add_argument("--dry-run", action="store_true", help="find it, change nothing")

    def handle(self, *args: Any, prefix: str, dry_run: bool, **options: Any) -> None:
        key = find_key(prefix)
        if key.revoked_at is not None:
            self.stdout.write(f"Key {key} of {key.user} was revoked already.")
        elif dry_run:
            self.stdout.write(f"Key {key} of {key.user} would be revoked.")
        else:
            ApiKey.objects.filter(pk=key.pk).revoke()
            self.stdout.write(f"Key {key} of {key.user} is revoked.")
