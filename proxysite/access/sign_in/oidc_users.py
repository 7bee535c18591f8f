"""The user and the roles of a person who logs in by OpenID Connect."""

import logging
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

logger = logging.getLogger("audit")
Claims = dict[str, Any]


class LoginRefused(Exception):
    """The person must not come in; the message is for him."""


def read_claims(data: dict[str, Any]) -> Claims:
    """Return the claims of the ID token and of the user info, which wins."""
    id_token = data.get("id_token") or {}
    userinfo = data.get("userinfo") or {}
    return {**id_token, **userinfo} if id_token or userinfo else data


def find_or_create_user(sociallogin: Any, claims: Claims) -> User:
    """Return the user of a login: the one that it was joined with, else by the name.

    Raises LoginRefused.
    """
    if sociallogin.is_existing:
        return require_active(sociallogin.user)
    name = str(claims.get(settings.OIDC_USERNAME_CLAIM) or "")
    if not name:
        raise LoginRefused(_("The other site did not say who you are."))
    user = User.objects.filter(username=name).first()
    if user is None:
        return create_user(name, claims)
    if not settings.OIDC_LINK_USERS:
        logger.warning("login by OpenID Connect refused: there is a user %r already", name)
        raise LoginRefused(_("There is a user of your name here who logs in another way."))
    return require_active(user)


def require_active(user: User) -> User:
    if not user.is_active:
        raise LoginRefused(_("Your account is blocked."))
    return user


def create_user(name: str, claims: Claims) -> User:
    """Write a new user without a password. Raises LoginRefused."""
    if not settings.OIDC_CREATE_USERS:
        raise LoginRefused(_("You have no account here yet; ask whoever runs this gateway."))
    user = User(
        username=name,
        email=str(claims.get("email") or "")[:254],
        first_name=str(claims.get("given_name") or "")[:150],
        last_name=str(claims.get("family_name") or "")[:150],
    )
    user.set_unusable_password()
    try:
        user.full_clean(exclude=["password"])
    except ValidationError:
        raise LoginRefused(_("Your name at the other site cannot be a user name here.")) from None
    user.save()
    return user


# --- roles ----------------------------------------------------------------------------------------
def parse_role_rules() -> list[tuple[str, str]]:
    """Return the pairs of OIDC_ROLES: a group of the provider, and a role here."""
    pairs = [entry.partition("=") for entry in settings.OIDC_ROLES]
    return [(group.strip(), role.strip()) for group, _equals, role in pairs if role.strip()]


def read_groups(claims: Claims) -> set[str]:
    """Return the person's groups at the provider: a list, or one text."""
    value = claims.get(settings.OIDC_GROUPS_CLAIM)
    if isinstance(value, str):
        return {value}
    return {str(entry) for entry in value} if isinstance(value, list) else set()


@transaction.atomic
def update_roles(user: User, claims: Claims) -> None:
    """Give the user the roles of his groups, and take away those of groups that he left.

    Roles that OIDC_ROLES does not name stay as they are, and nobody becomes a superuser. Without
    OIDC_ROLES nothing is written.
    """
    rules = parse_role_rules()
    if not rules:
        return
    groups = read_groups(claims)
    ruled = Group.objects.filter(name__in=[role for _group, role in rules])
    wanted = {role for group, role in rules if group in groups}
    now = set(user.groups.all())
    added = [group for group in ruled if group.name in wanted and group not in now]
    removed = [group for group in ruled if group.name not in wanted and group in now]
    user.groups.add(*added)
    user.groups.remove(*removed)
    is_staff = user.is_superuser or user.groups.exists()
    if is_staff != user.is_staff:
        user.is_staff = is_staff
        user.save(update_fields=["is_staff"])
