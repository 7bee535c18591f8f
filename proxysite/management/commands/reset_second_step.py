"""`reset_second_step`: remove the authenticator app of a user who has lost it."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import CommandError

from providers.management.base import GatewayCommand


class Command(GatewayCommand):
    help = (
        "Remove the authenticator app and the recovery codes of a user. The next login needs the "
        "password alone, or the user sets up an app again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="user name")
        parser.add_argument("--dry-run", action="store_true", help="find it, change nothing")

    def handle(self, *args: Any, user: str, dry_run: bool, **options: Any) -> None:
        if not settings.SIGN_IN.is_enabled:
            raise CommandError("Nobody has an authenticator app: TWO_FACTOR is off.")
        from allauth.mfa.models import Authenticator

        row = User.objects.filter(username=user).first()
        if row is None:
            raise CommandError(f"There is no user {user!r}.")
        apps = Authenticator.objects.filter(user=row)
        if not apps.exists():
            raise CommandError(f"The user {user} has no authenticator app.")
        if dry_run:
            self.stdout.write(f"The authenticator app of {user} would be removed.")
            return
        apps.delete()
        self.stdout.write(f"The authenticator app of {user} is removed.")
