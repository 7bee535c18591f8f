"""The page of a team with many members: the first are listed, all can be found and taken out."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from api.admin.team_admin import MOST_SHOWN_MEMBERS
from api.models import Team, TeamMember
from api.tests.admin.pages import inline_form, page_of

pytestmark = pytest.mark.django_db
USERS = "/admin/auth/user/"
EXISTING = "members-2"


@pytest.fixture
def team() -> Team:
    """A team with ten members more than its page lists."""
    team = Team.objects.create(name="Research")
    names = [f"user{number:03}" for number in range(MOST_SHOWN_MEMBERS + 10)]
    users = User.objects.bulk_create([User(username=name) for name in names])
    TeamMember.objects.bulk_create([TeamMember(team=team, user=user) for user in users])
    return team


def team_form(team: Team, **fields: object) -> dict[str, object]:
    inlines = inline_form("members") | inline_form(EXISTING) | inline_form("limit_set")
    return {"name": team.name} | inlines | fields


def list_names(team: Team) -> list[str]:
    return list(team.members.order_by("user__username").values_list("user__username", flat=True))


def test_the_page_lists_the_first_members_and_leads_to_all(
    admin_client: Client, team: Team
) -> None:
    html = admin_client.get(page_of(team)).content.decode()
    named = set(re.findall(r"user(\d{3})", html))
    assert len(named) == MOST_SHOWN_MEMBERS
    address = f"{USERS}?team_membership__team__id__exact={team.pk}"
    assert f'href="{address}">60 users' in html
    assert admin_client.get(address).context["cl"].result_count == 60


def test_a_member_is_taken_out_while_others_join_and_leave(
    admin_client: Client, team: Team
) -> None:
    rows = list(team.members.order_by("user__username")[:2])
    newcomer = User.objects.create_user("alice")
    posted = team_form(team, **inline_form("members", 1, user=newcomer.pk))
    posted |= inline_form(EXISTING, 2, 2, id=rows[0].pk, team=team.pk, DELETE="on")
    posted |= {f"{EXISTING}-1-id": rows[1].pk, f"{EXISTING}-1-team": team.pk}
    first = User.objects.create_user("aaron")
    TeamMember.objects.create(team=team, user=first)  # meanwhile, in another window
    assert admin_client.post(page_of(team), posted).status_code == 302
    names = list_names(team)
    assert names[:3] == ["aaron", "alice", "user001"]
    assert len(names) == 61


def test_a_member_of_another_team_is_not_taken_out(admin_client: Client, team: Team) -> None:
    other = Team.objects.create(name="Other")
    bob = TeamMember.objects.create(team=other, user=User.objects.create_user("bob"))
    posted = team_form(team)
    posted |= inline_form(EXISTING, 1, 1, id=bob.pk, team=team.pk, DELETE="on")
    admin_client.post(page_of(team), posted)
    assert list_names(other) == ["bob"]


def test_who_only_views_teams_sees_members_and_takes_nobody_in(client: Client, team: Team) -> None:
    staff = User.objects.create_user("viewer", is_staff=True)
    rights = Permission.objects.filter(codename__in=("view_team", "view_teammember"))
    staff.user_permissions.set(rights)
    client.force_login(staff)
    html = client.get(page_of(team)).content.decode()
    assert "user000" in html
    assert "members-0-user" not in html
    assert client.post(page_of(team), team_form(team)).status_code == 403
