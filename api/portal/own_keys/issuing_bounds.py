"""The keys that a user may issue in the portal: how many, for how long, for which models.

A key never allows more than its user has: the limits of the user and the team hold for all keys,
and each new key gets the default limits of keys, which it may narrow only.
"""

from django.conf import settings
from django.contrib.auth.models import User

from api.authentication import Caller
from api.key_rights.limit_rows import read_default_limits
from api.limits.caller_limits import load_caller_limits
from api.limits.limit_texts import Columns
from api.models import ApiKey, KeyQuerySet, TeamMember
from api.views.model_catalogue.model_objects import list_model_objects
from providers.protocol.json_types import JsonObject

PERMISSION = "api.issue_own_keys"


def may_issue_keys(user: User) -> bool:
    """Return whether the user may issue keys, by PORTAL_KEYS and the permission."""
    if settings.PORTAL_KEYS == "permitted":
        return user.has_perm(PERMISSION)
    return bool(settings.PORTAL_KEYS == "all")


def list_own_keys(user: User) -> KeyQuerySet:
    """Return the keys of a user, without those of the playground's sessions."""
    return ApiKey.objects.filter(user=user).exclude_session_keys()


def count_keys_left(user: User) -> int:
    """Return how many more keys the user may have."""
    valid_count = list_own_keys(user).filter_valid().count()
    return max(0, int(settings.PORTAL_MOST_KEYS) - valid_count)


def load_user_as_caller(user: User, key: ApiKey | None = None) -> Caller:
    """Return the user as the caller of a request with this key, or with one that allows all."""
    team_id = TeamMember.objects.filter(user=user).values_list("team_id", flat=True).first()
    key_id, prefix = (key.pk, key.prefix) if key is not None else (0, "")
    return Caller(
        key_id=key_id or None,
        user_id=user.pk,
        allowed_models=frozenset(key.allowed_models if key is not None else ()),
        expires_timestamp=float("inf"),
        team_id=team_id,
        limits=load_caller_limits(key_id, user.pk, prefix, user.get_username(), team_id),
    )


def list_own_models(user: User) -> dict[str, JsonObject]:
    """Return the models that the user may use with a key that allows all of them, by id."""
    return list_model_objects(load_user_as_caller(user))


def list_usable_models(key: ApiKey) -> dict[str, JsonObject]:
    """Return the models that the key may use, by id."""
    return list_model_objects(load_user_as_caller(key.user, key))


def narrow_limits(chosen: Columns) -> tuple[Columns, dict[str, object]]:
    """Return the limits of a new key, and those of the default that the choice exceeds, by column.

    A limit that was not chosen is the default's.
    """
    defaults = read_default_limits()
    exceeded = {
        name: defaults[name]
        for name, value in chosen.items()
        if value is not None and defaults.get(name) is not None and value > defaults[name]
    }
    return defaults | {name: value for name, value in chosen.items() if value is not None}, exceeded
