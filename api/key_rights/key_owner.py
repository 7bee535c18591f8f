"""The user of a new API key, who may be new too."""

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _


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
