"""The rows that usage records refer to: found by a typed name or id, and named on pages.

A row may have been deleted since; then its last name is known from its deletion.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Model, Q
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from api.models import ApiKey, Team, UsageRecord
from providers.admin.big_tables import NO_VALUE
from providers.integers import parse_integer
from providers.models import Deletion, Provider
from tokens.models import UpstreamToken

HIGHEST_ID = 2**63 - 1
MOST_SUGGESTIONS = 20
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Reference:
    """A kind of row that records refer to; `names` are its columns that a person may type."""

    column: str  # of usage records
    model: type[Model]
    names: tuple[str, ...]

    @property
    def page(self) -> str:
        """Return the name of the URL of a row's page."""
        meta = self.model._meta
        return f"admin:{meta.app_label}_{meta.model_name}_change"


REFERENCES = {
    "user": Reference("user_id", get_user_model(), ("username",)),
    "key": Reference("key_id", ApiKey, ("prefix", "name")),
    "team": Reference("team_id", Team, ("name",)),
    "provider": Reference("provider_id", Provider, ("name",)),
    "token": Reference("token_id", UpstreamToken, ("masked", "label")),
}
Names = dict[tuple[str, Any], tuple[str, bool]]  # (kind, id) -> (name, whether the row exists)


class UnknownName(ValueError):
    """A typed name that fits no row, or more than one."""


def parse_id(kind: str, text: str) -> int | UUID | None:
    """Return the id in a text, or None unless it is one of this kind of row."""
    if kind != "token":
        return parse_integer(text, 1, HIGHEST_ID)
    try:
        return UUID(text)
    except ValueError:
        return None


def find_reference(kind: str, text: str) -> int | UUID:
    """Return the id of the row of this name, deleted ones last. Raises UnknownName."""
    reference = REFERENCES[kind]
    text = text.removesuffix(ELLIPSIS).strip()
    row_id = parse_id(kind, text) if kind == "token" else None
    if row_id is not None:
        return row_id
    for name in reference.names:
        ids = list(
            reference.model._base_manager.filter(**{name: text}).values_list("pk", flat=True)[:2]
        )
        if len(ids) > 1:
            raise UnknownName(
                _("Several have the name “%(name)s”: choose one on its own page.") % {"name": text}
            )
        if ids:
            found: int | UUID = ids[0]
            return found
    deleted = Deletion.objects.filter(
        Q(name=text) | Q(name=f"{text}{ELLIPSIS}"), model=reference.model._meta.label_lower
    )
    for object_id in deleted.order_by("-pk").values_list("object_id", flat=True)[:1]:
        deleted_id = parse_id(kind, object_id)
        if deleted_id is not None:
            return deleted_id
    raise UnknownName(_("There is none of the name “%(name)s”.") % {"name": text})


def suggest_names(kind: str, beginning: str) -> list[str]:
    """Return the first names that begin with a text, at most MOST_SUGGESTIONS."""
    reference = REFERENCES[kind]
    name = reference.names[0]
    rows = reference.model._base_manager.filter(**{f"{name}__startswith": beginning})
    return list(rows.order_by(name).values_list(name, flat=True)[:MOST_SUGGESTIONS])


# --- names ----------------------------------------------------------------------------------------
def load_names(records: Iterable[UsageRecord], kinds: Iterable[str] = tuple(REFERENCES)) -> Names:
    """Return the names of all rows that these records refer to."""
    listed = list(records)
    names: Names = {}
    for kind in kinds:
        ids = {getattr(record, REFERENCES[kind].column) for record in listed} - {None}
        names |= load_names_of_kind(kind, ids)
    return names


def load_names_of_kind(kind: str, ids: set[Any]) -> Names:
    """Return the names of rows by their ids, those of deleted rows among them."""
    model = REFERENCES[kind].model
    rows = model._base_manager.in_bulk(ids) if ids else {}
    names: Names = {(kind, pk): (str(row), True) for pk, row in rows.items()}
    missing = {str(pk): pk for pk in ids - rows.keys()}
    if missing:
        deletions = Deletion.objects.filter(model=model._meta.label_lower, object_id__in=missing)
        last_names = dict(deletions.values_list("object_id", "name"))
        for text, pk in missing.items():
            name = last_names.get(text) or text
            names[kind, pk] = (_("%(name)s (deleted)") % {"name": name}, False)
    return names


def render_name(names: Names, kind: str, record: UsageRecord) -> SafeString | str:
    """Return the name of a row that a record refers to, with a link to its page if it exists."""
    row_id = getattr(record, REFERENCES[kind].column)
    if row_id is None:
        return NO_VALUE
    name, exists = names[kind, row_id]
    if not exists:
        return name
    return format_html('<a href="{}">{}</a>', reverse(REFERENCES[kind].page, args=[row_id]), name)
