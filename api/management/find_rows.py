"""Find the keys and teams that a command names."""

from django.core.management.base import CommandError

from api import keys
from api.models import ApiKey, Team

MOST_NAMED_KEYS = 5  # keys named in the error when the prefix fits several
PREFIX_HELP = "how the key begins, as the admin shows it, for example sk-ps-Ab12Cd34Ef"


def find_key(text: str) -> ApiKey:
    """Return the only key that begins so, as the admin shows it or whole. Raises CommandError.

    SQLite's own comparison ignores case.
    """
    prefix = text.strip().rstrip("….")[: keys.SHOWN_LENGTH]
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


def find_team(name: str) -> Team:
    """Return the team of this name. Raises CommandError, which lists the existing ones."""
    team = Team.objects.filter(name=name).first()
    if team is None:
        names = ", ".join(Team.objects.order_by("name").values_list("name", flat=True)[:20])
        raise CommandError(f"There is no team {name!r}; there are: {names or 'none'}.")
    return team
