"""The names of the keys, users and other rows that roll-ups refer to by their ids.

A row may have been deleted since. A deleted user gets a pseudonym that says nothing about the
person and stays the same; other deleted rows keep their last name where `Deletion` has it.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import Model

from api.models import ApiKey, Team
from api.models.usage_rollup import NIL_UUID
from providers.models import Deletion, Provider
from tokens.models import UpstreamToken

PSEUDONYM_DIGITS = 10
IDS_AT_ONCE = 500  # SQLite takes a limited number of values in a statement
# the model behind each group, and the column of its name
NAMED_MODELS: dict[str, tuple[type[Model], str]] = {
    "key": (ApiKey, "prefix"),
    "user": (get_user_model(), "username"),
    "team": (Team, "name"),
    "provider": (Provider, "name"),
    "token": (UpstreamToken, "masked"),
}


def is_nobody(subject_id: object) -> bool:
    """Return whether an id stands for no row at all."""
    return subject_id in (0, NIL_UUID)


def load_names(group: str, ids: Iterable[Any]) -> dict[Any, str]:
    """Return the names of the rows of a group by their ids, those of deleted rows among them."""
    wanted = {subject_id for subject_id in ids if not is_nobody(subject_id)}
    names = load_existing_names(group, sorted(wanted))
    missing = wanted - names.keys()
    return names | load_deleted_names(group, sorted(missing))


def load_existing_names(group: str, ids: list[Any]) -> dict[Any, str]:
    model, column = NAMED_MODELS[group]
    names: dict[Any, str] = {}
    for start in range(0, len(ids), IDS_AT_ONCE):
        rows = model._base_manager.filter(pk__in=ids[start : start + IDS_AT_ONCE])
        names.update(rows.values_list("pk", column))
    return names


def load_deleted_names(group: str, ids: list[Any]) -> dict[Any, str]:
    """Return names for rows that do not exist any more."""
    if group == "user":
        return {user_id: make_pseudonym(user_id) for user_id in ids}
    label = NAMED_MODELS[group][0]._meta.label_lower
    texts = {str(subject_id): subject_id for subject_id in ids}
    kept: dict[Any, str] = {}
    for start in range(0, len(ids), IDS_AT_ONCE):
        part = list(texts)[start : start + IDS_AT_ONCE]
        deletions = Deletion.objects.filter(model=label, object_id__in=part)
        for text, name in deletions.values_list("object_id", "name"):
            kept[texts[text]] = f"{name} (deleted)"
    return {subject_id: kept.get(subject_id, f"deleted {group}") for subject_id in ids}


def make_pseudonym(user_id: int) -> str:
    """Return the lasting name of a deleted user, which does not show who it was."""
    digest = hmac.new(
        settings.KEY_PEPPER.encode(), f"deleted user:{user_id}".encode(), hashlib.sha256
    )
    return f"deleted-user-{digest.hexdigest()[:PSEUDONYM_DIGITS]}"
