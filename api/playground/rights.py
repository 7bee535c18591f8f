"""The rights of a user's playground: those of one of the user's own API keys.

Who may issue keys, in the admin or in the portal, may try every model. Anybody else tries models
as one of the own valid keys would: with its models and its limits. So the playground opens nothing
that the operator has not given already.
"""

from dataclasses import dataclass

from django.contrib.auth.models import User

from api.models import ApiKey, KeyQuerySet
from api.portal.own_keys.issuing_bounds import may_issue_keys

ISSUE_KEYS_PERMISSION = "api.add_apikey"


class NoPlaygroundRights(Exception):
    """The user has no valid API key, and may not issue one."""


@dataclass(frozen=True, slots=True)
class PlaygroundRights:
    """The rights of a session's key; `source` is the key that they come from, None: of the user."""

    source: ApiKey | None = None

    @property
    def source_id(self) -> int | None:
        return self.source.pk if self.source is not None else None

    def list_key_columns(self) -> dict[str, object]:
        """Return the columns of the session's key."""
        if self.source is None:
            return {"allowed_models": [], "default_model": "", "stores_content": True}
        return {
            "allowed_models": self.source.allowed_models,
            "default_model": self.source.default_model,
            "stores_content": self.source.stores_content,
        }


def has_own_rights(user: User) -> bool:
    """Return whether the playground may have the rights of a new key of the user."""
    return user.has_perm(ISSUE_KEYS_PERMISSION) or may_issue_keys(user)


def list_source_keys(user: User) -> KeyQuerySet:
    """Return the valid keys of a user whose rights the playground can have, the newest first."""
    return ApiKey.objects.filter(user=user).filter_valid().exclude_session_keys()


def find_rights(user: User, source_id: int | None = None) -> PlaygroundRights:
    """Return the rights of a user's playground; `source_id` is the key that the user chose.

    Raises NoPlaygroundRights.
    """
    keys = list_source_keys(user)
    if source_id is not None:
        keys = keys.filter(pk=source_id)
    elif has_own_rights(user):
        return PlaygroundRights()
    source = keys.first()
    if source is None:
        raise NoPlaygroundRights
    return PlaygroundRights(source)
