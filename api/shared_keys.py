"""Keys that many callers share, taken over from the programs that proxysite replaces.

They belong to one ordinary user: a shared key must open no staff endpoint.
"""

from django.contrib.auth import get_user_model

from api import keys

SHARED_USERNAME = "shared"
# anybody can read these defaults
PUBLISHED_KEYS = frozenset(("sk-default", "sk-false", "sk-k2think"))


def find_shared_key_problem(key: str) -> str:
    """Return why a key is refused, or an empty string; a key needs no particular format."""
    if key in PUBLISHED_KEYS:
        return f"{key!r} is a published default that anybody knows; choose another"
    return keys.find_key_problem(key)


def add_shared_key(name: str, key: str, default_model: str = "") -> str:
    """Write the row of a shared key, and return a line about it; "" when it is known already.

    `name` says where it comes from. The line has no secret.
    """
    if problem := find_shared_key_problem(key):
        return f"{name}: not taken, {problem}."
    if keys.find_key_row(key) is not None:
        return ""
    user, _ = get_user_model().objects.get_or_create(username=SHARED_USERNAME)
    keys.add_existing_key(user, key, name=name, default_model=default_model)
    line = f"{name}: taken as an API key of the user {SHARED_USERNAME!r}"
    if default_model:
        line += f"; requests without a model get {default_model}"
    return f"{line}."
