"""`rotate_key`: give an API key a new secret; the old one works a little longer."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from api.key_rights import key_rotation
from api.management.commands.issue_key import parse_lifetime
from api.management.find_rows import PREFIX_HELP, find_key
from providers.management.base import GatewayCommand
from tokens.secret_check import require_secrets


class Command(GatewayCommand):
    help = (
        "Give an API key a new secret, shown once, alone on the last line. Its limits, budgets and "
        "usage stay; the old secret ends after the overlap."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("prefix", help=PREFIX_HELP)
        parser.add_argument(
            "--overlap",
            default="24h",
            metavar="24h",
            help="the old secret works for so long: a number with m, h, d or w; or 0",
        )
        parser.add_argument("--dry-run", action="store_true", help="find it, change nothing")

    def handle(self, *args: Any, prefix: str, overlap: str, dry_run: bool, **options: Any) -> None:
        require_secrets()
        duration = timedelta() if overlap == "0" else parse_lifetime(overlap) or timedelta()
        key = find_key(prefix)
        if dry_run:
            self.stdout.write(f"Key {key} of {key.user} would get a new secret.")
            return
        try:
            old, secret = key_rotation.rotate_key(key, duration)
        except key_rotation.KeyNotValid:
            raise CommandError(f"Key {key} of {key.user} is revoked or has expired.") from None
        end = "is refused now"
        if old.revoked_at is None:
            end = f"works until {old.expires_at:%Y-%m-%d %H:%M %Z}"
        text = f"The old secret {old} {end}. The new one is not shown again:"
        self.stderr.write(text, self.style.SUCCESS)
        self.stdout.write(secret)
