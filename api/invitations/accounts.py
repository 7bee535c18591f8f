"""Create the account of somebody who was invited, or who signs up."""

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from api.key_rights.key_expiry import find_latest_expiry
from api.key_rights.limit_rows import update_limits
from api.keys import create_key
from api.limits.limit_texts import parse_limits
from api.models import ApiKey, Invitation, InvitationUse, Team, TeamMember

logger = logging.getLogger("audit")
ISSUE_PERMISSION = "issue_own_keys"


class InvitationClosed(Exception):
    """The invitation was used up, revoked or expired meanwhile."""


class TooManySignUps(Exception):
    """PORTAL_SIGN_UPS_PER_HOUR people have signed up within the last hour."""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """The name, password and e-mail address that a person chose; checked by a form."""

    username: str
    password: str
    email: str = ""


@transaction.atomic
def create_invited_user(invitation: Invitation, account: NewAccount) -> tuple[User, str]:
    """Use an invitation once: create the user, and a first key if the invitation gives one.

    Returns the user and the key, which cannot be shown again, or an empty text. Raises
    InvitationClosed, and IntegrityError when somebody has the name.
    """
    is_open = Invitation.objects.filter_open().filter(pk=invitation.pk)
    if not is_open.update(use_count=F("use_count") + 1):
        raise InvitationClosed
    user = create_user(account, invitation.team)
    apply_rights(user, invitation)
    key_row, secret = create_first_key(user) if invitation.gives_key else (None, "")
    InvitationUse.objects.create(invitation=invitation, user=user, key=key_row)
    logger.info("invitation %d used: the user %d was created", invitation.pk, user.pk)
    return user, secret


@transaction.atomic
def create_signed_up_user(account: NewAccount) -> User:
    """Create the user of somebody who signs up. Raises TooManySignUps, IntegrityError."""
    hour_ago = timezone.now() - timedelta(hours=1)
    recent_users = User.objects.filter(date_joined__gt=hour_ago)
    if recent_users.count() >= settings.PORTAL_SIGN_UPS_PER_HOUR:
        raise TooManySignUps
    team = None
    if settings.PORTAL_SIGN_UP_TEAM:
        team, _ = Team.objects.get_or_create(name=settings.PORTAL_SIGN_UP_TEAM)
    user = create_user(account, team)
    logger.info("sign-up: the user %d was created", user.pk)
    return user


def create_user(account: NewAccount, team: Team | None) -> User:
    """Write a plain user, as a member of the team if there is one."""
    user = User.objects.create_user(account.username, account.email, account.password)
    if team is not None:
        TeamMember.objects.create(user=user, team=team)
    return user


def apply_rights(user: User, invitation: Invitation) -> None:
    """Give a new user the role, the limits and the rights of the invitation."""
    if invitation.role is not None:
        user.is_staff = True
        user.save(update_fields=["is_staff"])
        user.groups.add(invitation.role)
    if invitation.may_issue_keys:
        user.user_permissions.add(
            Permission.objects.get(codename=ISSUE_PERMISSION, content_type__app_label="api")
        )
    columns = parse_limits(invitation.limits)
    if invitation.allowed_models:
        columns["allowed_models"] = list(invitation.allowed_models)
    if columns:
        update_limits({"user": user}, columns)


def create_first_key(user: User) -> tuple[ApiKey, str]:
    """Create the first key of a new user, with the default limits of keys."""
    return create_key(user, name="first key", expires_at=find_latest_expiry())
