"""The forms of limits on the pages of keys, users and teams."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from api.limits.limit_values import BUDGET_TEXT, COUNT_TEXT
from api.models import ApiKey, LimitSet, Team, TeamMember
from api.tests.admin.pages import KEYS, inline_form, key_form, page_of, read_form_number
from providers.models import Provider

pytestmark = pytest.mark.django_db
TEAMS = "/admin/api/team/"


def limits_form(prefix: str = "limit_sets", **values: Any) -> dict[str, Any]:
    """Return the form of new limits."""
    defaults = {"budget_window": "calendar", "time_zone": "UTC"}
    return inline_form(prefix, 1, **defaults | values)


def user_page(user: User) -> str:
    return f"/admin/auth/user/{user.pk}/change/"


def user_form(user: User, **forms: Any) -> dict[str, Any]:
    fields = {"username": user.username, "is_active": "on", "date_joined_0": "2026-11-30"}
    inlines = inline_form("team_membership") | inline_form("limit_set")
    return fields | {"date_joined_1": "10:00:00"} | inlines | forms


# --- keys -----------------------------------------------------------------------------------------
def test_the_limits_of_a_key_are_set_on_its_page(admin_client: Client, row: ApiKey) -> None:
    form = limits_form(
        requests_per_minute="60",
        day_budget_usd="5.50",
        allowed_models="gpt-5*\r\n\r\n echo ",
        ip_ranges="10.0.0.0/8",
        notifies_owner="on",
    )
    assert admin_client.post(page_of(row), key_form() | form).status_code == 302
    limits = row.limit_sets.get()
    assert (limits.requests_per_minute, limits.day_budget_usd) == (60, Decimal("5.5"))
    assert (limits.allowed_models, limits.ip_ranges) == (["gpt-5*", "echo"], ["10.0.0.0/8"])
    assert limits.notifies_owner
    html = admin_client.get(page_of(row)).content.decode()
    assert "gpt-5*\necho" in html
    (entry,) = LogEntry.objects.all()
    assert "limits" in entry.get_change_message()
    assert "60" not in entry.change_message


def test_a_form_that_nobody_touched_makes_no_limits(admin_client: Client, row: ApiKey) -> None:
    assert admin_client.post(page_of(row), key_form() | limits_form()).status_code == 302
    assert not LimitSet.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("requests_per_minute", "0", COUNT_TEXT),
        ("requests_per_minute", "-1", COUNT_TEXT),
        ("requests_per_minute", "many", COUNT_TEXT),
        ("requests_per_minute", "9" * 30, COUNT_TEXT),
        ("day_budget_usd", "-1", BUDGET_TEXT),
        ("day_budget_usd", "much", BUDGET_TEXT),
        ("day_budget_usd", "NaN", BUDGET_TEXT),
        ("day_budget_usd", "0.0000001", BUDGET_TEXT),
        ("day_budget_usd", "100000000", BUDGET_TEXT),
        ("time_zone", "Mars", "There is no time zone &#x27;Mars&#x27;"),
        ("ip_ranges", "10.0.0.1/8", "is no IP range"),
        ("allowed_endpoints", "chat", "is no endpoint"),
        ("for_each_end_user", "on", ""),
    ],
)
def test_impossible_limits_get_the_sentences_of_the_commands(
    admin_client: Client, row: ApiKey, field: str, value: str, sentence: str
) -> None:
    answer = admin_client.post(page_of(row), key_form() | limits_form(**{field: value}))
    if not sentence:
        assert LimitSet.objects.get().for_each_end_user
        return
    assert answer.status_code == 200
    html = answer.content.decode()
    assert html.count(sentence) == 1
    assert not LimitSet.objects.exists()


def test_a_raise_needs_an_end(admin_client: Client, row: ApiKey) -> None:
    form = limits_form(day_budget_usd="5", raise_usd="2")
    html = admin_client.post(page_of(row), key_form() | form).content.decode()
    assert "A raise of the budgets needs an amount and an end." in html


@pytest.mark.settings(DEFAULT_KEY_LIMITS="rpm=60,budget=5/day")
def test_a_new_key_gets_the_limits_of_the_setting_unless_others_are_given(
    admin_client: Client, alice: User
) -> None:
    html = admin_client.get(f"{KEYS}add/").content.decode()
    assert 'name="limit_sets-0-requests_per_minute" value="60"' in html
    untouched = limits_form(requests_per_minute="60", day_budget_usd="5")
    for form in (untouched, limits_form(tokens_per_minute="9"), inline_form("limit_sets")):
        number = read_form_number(admin_client)
        admin_client.post(f"{KEYS}add/", key_form(user=alice.pk, form_number=number) | form)
    rows = LimitSet.objects.order_by("pk").values_list("requests_per_minute", "tokens_per_minute")
    assert (ApiKey.objects.count(), list(rows)) == (3, [(60, None), (None, 9)])


def test_a_key_may_have_patterns_of_models(
    admin_client: Client, row: ApiKey, provider: Provider
) -> None:
    form = key_form(allowed_models=["echo"], model_patterns="gpt-4*\r\n")
    assert admin_client.post(page_of(row), form).status_code == 302
    assert ApiKey.objects.get().allowed_models == ["echo", "gpt-4*"]
    html = admin_client.get(page_of(row)).content.decode()
    assert ">\ngpt-4*</textarea>" in html
    assert 'value="gpt-4*"' not in html
    admin_client.post(page_of(row), key_form(name="desk", allowed_models=["echo"]))
    assert ApiKey.objects.get().allowed_models == ["echo"]
    ApiKey.objects.update(allowed_models=["gone*"])
    assert admin_client.post(page_of(row), key_form(model_patterns="gone*")).status_code == 302
    assert ApiKey.objects.get().allowed_models == ["gone*"]
    form = key_form(model_patterns="kimi*")
    assert "No such model: kimi*." in admin_client.post(page_of(row), form).content.decode()


# --- users ----------------------------------------------------------------------------------------
def test_a_users_page_has_team_and_limits(admin_client: Client, alice: User) -> None:
    team = Team.objects.create(name="Research")
    forms = inline_form("team_membership", 1, team=team.pk, user=alice.pk) | limits_form(
        "limit_set", month_budget_usd="50"
    )
    assert admin_client.post(user_page(alice), user_form(alice, **forms)).status_code == 302
    assert TeamMember.objects.get(user=alice).team == team
    assert LimitSet.objects.get(user=alice).month_budget_usd == 50
    html = admin_client.get(user_page(alice)).content.decode()
    assert f"/admin/api/usagerecord/?user__id__exact={alice.pk}" in html
    assert admin_client.get("/admin/auth/user/add/").status_code == 200


# --- teams ----------------------------------------------------------------------------------------
def test_a_team_has_members_limits_and_teams_within(admin_client: Client, alice: User) -> None:
    firm = Team.objects.create(name="<b>Firm</b>")
    forms = inline_form("members", 1, user=alice.pk) | limits_form("limit_set", total_budget_usd=9)
    posted = {"name": "Research", "parent": firm.pk} | forms
    assert admin_client.post(f"{TEAMS}add/", posted).status_code == 302
    team = Team.objects.get(name="Research")
    assert team.parent == firm
    assert [member.user for member in team.members.all()] == [alice]
    html = admin_client.get(TEAMS).content.decode()
    assert "budget=9/total" in html
    assert "<b>Firm</b>" not in html
    assert page_of(team) in admin_client.get(page_of(firm)).content.decode()


def test_a_user_is_in_one_team_and_a_team_not_in_itself(admin_client: Client, alice: User) -> None:
    team = Team.objects.create(name="Research")
    TeamMember.objects.create(user=alice, team=team)
    posted = {"name": "Other"} | inline_form("members", 1, user=alice.pk) | inline_form("limit_set")
    assert "in a team already" in admin_client.post(f"{TEAMS}add/", posted).content.decode()
    posted = {"name": "Research", "parent": team.pk}
    posted |= inline_form("members") | inline_form("members-2") | inline_form("limit_set")
    html = admin_client.post(page_of(team), posted).content.decode()
    assert "A team cannot be part of itself." in html


# --- rights ---------------------------------------------------------------------------------------
def let_in(client: Client, *codenames: str) -> None:
    user = User.objects.create_user("member", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)


def test_without_the_permission_there_is_no_form_and_nothing_is_written(
    client: Client, row: ApiKey, alice: User
) -> None:
    let_in(client, "view_apikey", "change_apikey", "view_user", "change_user")
    for page, form in (
        (page_of(row), key_form() | limits_form(requests_per_minute="60")),
        (user_page(alice), user_form(alice, **limits_form("limit_set", requests_per_minute="60"))),
    ):
        html = client.get(page).content.decode()
        assert "requests_per_minute" not in html
        assert "Usage records of" not in html
        assert client.post(page, form).status_code == 302
    assert not LimitSet.objects.exists()
    assert client.get(TEAMS).status_code == 403


def test_who_may_only_view_limits_changes_none(client: Client, row: ApiKey) -> None:
    let_in(client, "view_apikey", "change_apikey", "view_limitset")
    LimitSet.objects.create(key=row, requests_per_minute=60)
    assert "60" in client.get(page_of(row)).content.decode()
    limits = row.limit_sets.get()
    form = inline_form("limit_sets", 1, 1, id=limits.pk, key=row.pk, requests_per_minute="90")
    client.post(page_of(row), key_form() | form)
    assert row.limit_sets.get().requests_per_minute == 60


def test_limits_of_another_key_cannot_be_changed_by_their_id(
    client: Client, row: ApiKey, alice: User
) -> None:
    let_in(client, "view_apikey", "change_apikey", "view_limitset", "change_limitset")
    other = LimitSet.objects.create(user=alice, requests_per_minute=60)
    form = inline_form("limit_sets", 1, 1, id=other.pk, key=row.pk, requests_per_minute="90")
    client.post(page_of(row), key_form() | form)
    other.refresh_from_db()
    assert (other.requests_per_minute, other.key_id) == (60, None)
