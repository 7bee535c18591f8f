"""The sections above the form of a user: keys, usage, limits, stored content, sessions.

A member of staff sees the sections whose rows he may view.
"""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

from api.admin.keys.budget_table import render_budgets
from api.admin.keys.usage_chart import render_usage_chart
from api.admin.requests.usage_section import may_view_usage, render_usage_section
from api.key_rights.budgets_left import read_total_spend
from api.limits.limit_errors import format_usd
from api.models import ApiKey, LimitSet, SubjectKind
from conversations.models import Conversation, StoredFile
from providers.admin.big_tables import MOST_COUNTED, count_bounded
from proxysite.access.login_session import LoginSession

MOST_KEYS = 20
MOST_SESSIONS = 20


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One key as the table shows it."""

    row: ApiKey
    spent: str

    @property
    def state(self) -> str:
        """Return valid, expired or revoked."""
        if self.row.revoked_at is not None:
            return "revoked"
        return "expired" if self.row.is_expired else "valid"


@dataclass(frozen=True, slots=True)
class StoredCount:
    """The number of rows of a kind that a user has; `is_more` if counting stopped there."""

    count: int
    is_more: bool


def build_person_sections(request: HttpRequest, person: User) -> dict[str, Any]:
    """Return the parts of the page that this member of staff may see."""
    sections: dict[str, Any] = {"can_issue": request.user.has_perm("api.add_apikey")}
    if may_view(request, "api.apikey"):
        keys = ApiKey.objects.filter(user=person)
        sections["key_lines"] = list_key_lines(keys)
        sections["has_more_keys"] = keys[MOST_KEYS : MOST_KEYS + 1].exists()
    if may_view_usage(request):
        sections["usage"] = render_usage_section("user", person)
        sections["chart"] = render_usage_chart("user_id", [person.pk])
    if may_view(request, "api.limitset"):
        sections["budgets"] = render_budgets(LimitSet.objects.filter(user=person))
    if may_view(request, "conversations.conversation"):
        sections["conversations"] = count_stored(Conversation.objects.filter(user=person))
    if may_view(request, "conversations.storedfile"):
        sections["files"] = count_stored(StoredFile.objects.filter(user=person))
    if may_view(request, "proxysite.loginsession"):
        alive = LoginSession.objects.filter(user=person).filter_alive()
        sections["sessions"] = list(alive[:MOST_SESSIONS])
    return sections


def may_view(request: HttpRequest, model: str) -> bool:
    """Return whether the person may view or change rows of `app.model`."""
    app, _dot, name = model.partition(".")
    actions = ("view", "change")
    return any(request.user.has_perm(f"{app}.{action}_{name}") for action in actions)


def list_key_lines(keys: QuerySet[ApiKey]) -> list[KeyLine]:
    """Return the newest keys with the amount that each has spent."""
    rows = list(keys[:MOST_KEYS])
    spend = read_total_spend(SubjectKind.KEY, [row.pk for row in rows]) if rows else {}
    return [KeyLine(row, format_usd(spend.get(row.pk, 0))) for row in rows]


def count_stored(rows: QuerySet[Any]) -> StoredCount:
    """Count rows, up to MOST_COUNTED."""
    count = count_bounded(rows)
    return StoredCount(min(count, MOST_COUNTED), count > MOST_COUNTED)
