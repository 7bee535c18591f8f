"""The page Roles: each role in plain words, and the groups with their rights."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from proxysite.people.rights_field import make_rights_field
from proxysite.people.role import Role
from proxysite.people.roles import ROLES, RoleDefinition


@dataclass(frozen=True, slots=True)
class RoleCard:
    """One role on the page; `group` is None when somebody deleted it."""

    definition: RoleDefinition
    group: Group | None
    member_count: int


def build_role_cards() -> list[RoleCard]:
    """Return the ready-made roles with their groups as they are called now."""
    rows = {row.name: row for row in Role.objects.select_related("group")}
    counts = dict(
        User.objects.filter(groups__role__isnull=False)
        .order_by()
        .values_list("groups")
        .annotate(count=Count("pk"))
    )
    cards = []
    for definition in ROLES:
        row = rows.get(definition.name)
        group = row.group if row is not None else None
        cards.append(RoleCard(definition, group, counts.get(group.pk, 0) if group else 0))
    return cards


@admin.register(Group)
class RoleAdmin(GroupAdmin):
    """Django's groups, called roles; only superusers change them."""

    change_list_template = "admin/auth/group/change_list.html"
    list_display = ("name", "member_count")
    filter_horizontal = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        rows: QuerySet[Group] = super().get_queryset(request)
        return rows.annotate(members=Count("user"))

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any
    ) -> Any:
        return make_rights_field(db_field)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return is_superuser(request) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return is_superuser(request) and super().has_delete_permission(request, obj)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"role_cards": build_role_cards(), **(extra_context or {})}
        return super().changelist_view(request, context)

    @admin.display(description=_("members"), ordering="members")
    def member_count(self, group: Group) -> int:
        return int(getattr(group, "members", 0))


def is_superuser(request: HttpRequest) -> bool:
    """Return whether the person may give rights: who changes a role could give himself any."""
    return bool(getattr(request.user, "is_superuser", False))
