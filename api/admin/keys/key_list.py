"""The list of API keys: its filters, and the amount that each row of a page has spent."""

from datetime import timedelta
from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from api.key_rights.budgets_left import read_total_spend
from api.models import ApiKey, KeyQuerySet, LimitSet, SubjectKind
from providers.admin.big_tables import BigTableList

SOON = timedelta(days=7)


class KeyStateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "is"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, Any]]:
        return [
            ("valid", _("valid")),
            ("ending", _("ends within 7 days")),
            ("expired", _("expired")),
            ("revoked", _("revoked")),
            ("blocked", _("user blocked")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        now = timezone.now()
        match self.value():
            case "valid":
                return cast(KeyQuerySet, queryset).filter_valid()
            case "ending":
                rows = cast(KeyQuerySet, queryset).filter_valid()
                return rows.filter(expires_at__lt=now + SOON)
            case "expired":
                return queryset.filter(expires_at__lte=now, revoked_at=None)
            case "revoked":
                return queryset.exclude(revoked_at=None)
            case "blocked":
                return queryset.filter(user__is_active=False)
        return queryset


class KeyUseFilter(admin.SimpleListFilter):
    title = _("last used")
    parameter_name = "used"
    DAYS = {"day": 1, "month": 30}

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, Any]]:
        return [
            ("day", _("within 24 hours")),
            ("month", _("within 30 days")),
            ("idle", _("not for 30 days")),
            ("never", _("never")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        now = timezone.now()
        value = self.value()
        if value in self.DAYS:
            return queryset.filter(last_used_at__gte=now - timedelta(days=self.DAYS[value]))
        if value == "idle":
            return queryset.filter(last_used_at__lt=now - timedelta(days=30))
        if value == "never":
            return queryset.filter(last_used_at=None)
        return queryset


class KeyList(BigTableList):
    """The list with the spending and the limits of its rows, read for a page at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        ids = [row.pk for row in rows]
        spend = read_total_spend(SubjectKind.KEY, ids)
        own_limits = LimitSet.objects.filter(key__in=ids, for_each_end_user=False)
        limits = {row.key_id: row for row in own_limits[: len(ids)]}
        for row in rows:
            row.spent_micro_usd = spend.get(row.pk, 0)
            row.own_limits = limits.get(row.pk)
        self.result_list = rows
