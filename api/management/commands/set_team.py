"""`set_team`: create a team, or change its members and the team that it is part of."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from api.management.find_rows import find_team
from api.models import Team, TeamMember
from providers.management.base import GatewayCommand
from providers.management.command_helpers import (
    describe_outcome,
    describe_validation_error,
    find_user,
)


class Command(GatewayCommand):
    help = "Create a team of users that share limits, or change its members."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="for example Research")
        parser.add_argument(
            "--part-of", metavar="TEAM", help="the team above it, whose limits hold too; or none"
        )
        parser.add_argument(
            "--member",
            action="append",
            default=[],
            metavar="USER",
            help="takes this user in, out of any other team; may be given several times",
        )
        parser.add_argument(
            "--remove-member",
            action="append",
            default=[],
            metavar="USER",
            help="takes this user out; may be given several times",
        )
        parser.add_argument("--dry-run", action="store_true", help="check, change nothing")

    def handle(self, *args: Any, name: str, dry_run: bool, **options: Any) -> None:
        team = Team.objects.filter(name=name).first()
        is_new = team is None
        with transaction.atomic():
            team = write_team(team or Team(name=name), options["part_of"])
            move_members(team, options["member"])
            remove_members(team, options["remove_member"])
            count = team.members.count()
            transaction.set_rollback(dry_run)
        outcome = describe_outcome(is_new=is_new, dry_run=dry_run)
        place = f", part of {team.parent}" if team.parent else ""
        members = "1 member" if count == 1 else f"{count} members"
        self.stdout.write(f"Team {team} {outcome}{place}: {members}.")


def write_team(team: Team, parent_name: str | None) -> Team:
    """Save a team, with another parent when one is named. Raises CommandError."""
    if parent_name is not None:
        team.parent = None if parent_name == "none" else find_team(parent_name)
    try:
        team.full_clean()
    except ValidationError as error:
        raise CommandError(describe_validation_error(error)) from None
    team.save()
    return team


def move_members(team: Team, names: Sequence[str]) -> None:
    """Make these users members of the team, and of no other one. Raises CommandError."""
    for name in names:
        TeamMember.objects.update_or_create(user=find_user(name), defaults={"team": team})


def remove_members(team: Team, names: Sequence[str]) -> None:
    """End the membership of these users. Raises CommandError."""
    for name in names:
        if not TeamMember.objects.filter(user=find_user(name), team=team).delete()[0]:
            raise CommandError(f"The user {name} is no member of {team}.")
