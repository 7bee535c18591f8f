"""The user of an API key: who may hold a secret of whom, and new users."""

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _


def can_hold_key_of(person: User, owner: User) -> bool:
    """Return whether a member of staff may see a new secret of a key of this owner.

    A key gives access to everything that its owner may do, so that the keys of other members of
    staff are for superusers only.
    """
    return (
        person.is_superuser or owner.pk == person.pk or not (owner.is_staff or owner.is_superuser)
    )


def filter_key_owners(person: User) -> "QuerySet[User]":
    """Return the users for whom this member of staff may issue a key."""
    if person.is_superuser:
        return User.objects.all()
    plain = Q(is_staff=False, is_superuser=False)
    return User.objects.filter(plain | Q(pk=person.pk))


def find_new_user_problem(name: str) -> str:
    """Return why no user of this name can be made, or an empty string."""
    if User.objects.filter(username=name).exists():
        return _("There is a user of this name already: choose the user above.")
    try:
        User(username=name).full_clean(exclude=["password"])
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


def create_user_without_password(name: str) -> User:
    """Create a user who can use API keys and cannot log in."""
    user = User(username=name)
    user.set_unusable_password()
    user.save()
    return user
