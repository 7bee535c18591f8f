"""The admin of teams, with their members and limits."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, ngettext

from api.admin.keys.budget_table import render_budgets
from api.admin.keys.usage_chart import render_usage_chart
from api.admin.limit_admin import TeamLimitsInline
from api.admin.requests.usage_section import may_view_usage, render_records_link, render_totals
from api.limits.limit_texts import describe_limits
from api.models import LimitSet, Team, TeamMember
from api.usage.subject_totals import list_teams_within
from providers.admin.big_tables import NO_VALUE, make_time_column
from providers.integers import parse_integer

MOST_LINKED_MEMBERS = 20  # in the section about usage
MOST_SHOWN_MEMBERS = 50  # in the form
MOST_LINKED_TEAMS = 50  # within a team
LAST_ID = 2**63 - 1
OTHER_TEAM_TEXT = gettext_lazy("This user is in a team already; take the user out of it first.")


class TeamMemberForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = TeamMember
        fields = ("user", "team")
        error_messages = {"user": {"unique": OTHER_TEAM_TEXT}}


class NewMembersInline(admin.TabularInline):  # type: ignore[type-arg]
    """Empty lines for users who are taken into a team."""

    model = TeamMember
    form = TeamMemberForm
    fields = ("user",)
    autocomplete_fields = ("user",)
    extra = 0
    can_delete = False
    verbose_name = gettext_lazy("new member")
    verbose_name_plural = gettext_lazy("new members")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return that it shows no rows: MembersInline does."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class FirstMembers(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    """The first members of a team; when the form is sent, those that it showed."""

    shown: "QuerySet[TeamMember] | None" = None

    def get_queryset(self) -> "QuerySet[TeamMember]":
        if self.shown is None:
            rows = super().get_queryset()
            if self.is_bound:
                self.shown = rows.filter(pk__in=self.list_posted_ids())
            else:
                self.shown = rows[:MOST_SHOWN_MEMBERS]
        return self.shown

    def list_posted_ids(self) -> list[int]:
        """Return the ids of the rows that the form showed."""
        names = (f"{self.prefix}-{number}-id" for number in range(MOST_SHOWN_MEMBERS))
        ids = (parse_integer(self.data.get(name, ""), 1, LAST_ID) for name in names)
        return [row_id for row_id in ids if row_id is not None]


class MembersInline(admin.TabularInline):  # type: ignore[type-arg]
    """The first members of a team, to be taken out; a large team has more of them."""

    model = TeamMember
    formset = FirstMembers
    fields = readonly_fields = ("member",)
    max_num = 0
    verbose_name = gettext_lazy("member")
    verbose_name_plural = gettext_lazy("members")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[TeamMember]:
        rows: QuerySet[TeamMember] = super().get_queryset(request)
        return rows.select_related("user", "team").order_by("user__username")

    @admin.display(description=gettext_lazy("user"))
    def member(self, row: TeamMember) -> SafeString:
        address = reverse("admin:auth_user_change", args=[row.user_id])
        return format_html('<a href="{}">{}</a>', address, row.user)


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    """The team of a user."""

    model = TeamMember
    fields = ("team",)
    autocomplete_fields = ("team",)
    extra = 1
    verbose_name = gettext_lazy("team")


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "parent", "member_count", "limits_text")
    list_select_related = ("parent", "limit_set")
    list_per_page = 50
    search_fields = ("name",)
    autocomplete_fields = ("parent",)
    readonly_fields = ("teams_within", "all_members", "created", "budgets", "usage_section")
    fields = (
        "name",
        "parent",
        "teams_within",
        "all_members",
        "created",
        "budgets",
        "usage_section",
    )
    created = make_time_column("created_at", gettext_lazy("created"))

    def get_fields(self, request: HttpRequest, obj: Team | None = None) -> Any:
        if obj is None:
            return ("name", "parent")
        return self.fields if may_view_usage(request) else self.fields[:-1]

    def get_inlines(self, request: HttpRequest, obj: Team | None) -> Any:
        if obj is None:
            return (NewMembersInline, TeamLimitsInline)
        return (NewMembersInline, TeamLimitsInline, MembersInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        rows: QuerySet[Team] = super().get_queryset(request)
        return rows.annotate(count=Count("members"))

    @admin.display(description=gettext_lazy("members"), ordering="count")
    def member_count(self, team: Team) -> int:
        return int(getattr(team, "count", 0))

    @admin.display(description=gettext_lazy("limits"))
    def limits_text(self, team: Team) -> str:
        limits: LimitSet | None = getattr(team, "limit_set", None)
        return describe_limits(vars(limits)) if limits is not None else NO_VALUE

    @admin.display(description=gettext_lazy("teams within it"))
    def teams_within(self, team: Team) -> SafeString:
        teams = list(team.children.all()[: MOST_LINKED_TEAMS + 1])
        links = format_html_join(
            ", ",
            '<a href="{}">{}</a>',
            (
                (reverse("admin:api_team_change", args=[child.pk]), child)
                for child in teams[:MOST_LINKED_TEAMS]
            ),
        )
        more = ", …" if len(teams) > MOST_LINKED_TEAMS else ""
        return format_html("{}{}", links or NO_VALUE, more)

    @admin.display(description=gettext_lazy("members"))
    def all_members(self, team: Team) -> SafeString:
        """Return a link to the list of users with all members, whose number the form may exceed."""
        address = reverse("admin:auth_user_changelist")
        text = ngettext("%(count)s user", "%(count)s users", self.member_count(team))
        return format_html(
            '<a href="{}?team_membership__team__id__exact={}">{}</a>',
            address,
            team.pk,
            text % {"count": f"{self.member_count(team):,}"},
        )

    @admin.display(description=gettext_lazy("budgets"))
    def budgets(self, team: Team) -> SafeString | str:
        return render_budgets(LimitSet.objects.filter(team=team))

    @admin.display(description=gettext_lazy("usage"))
    def usage_section(self, team: Team) -> SafeString:
        members = team.members.select_related("user").order_by("user__username")
        users = [member.user for member in members[: MOST_LINKED_MEMBERS + 1]]
        links = format_html_join(
            ", ",
            "{}",
            ((render_records_link("user", user),) for user in users[:MOST_LINKED_MEMBERS]),
        )
        more = ", …" if len(users) > MOST_LINKED_MEMBERS else ""
        totals = render_totals("team_id", list_teams_within(team))
        chart = render_usage_chart("team_id", list_teams_within(team))
        return format_html("{}{}<p>{}{}</p>", chart, totals, links, more)
