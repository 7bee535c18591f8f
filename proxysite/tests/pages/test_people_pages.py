"""The pages of keys and people in a real browser, at both widths."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import Group, User
from django.utils import timezone

from api.models import ApiKey, LimitSet, Spend, Team, TeamMember, UsageDay
from api.models.usage_rollup import NIL_UUID
from providers.database.database_threads import run_in_thread
from proxysite.models import AuditEntry
from proxysite.people import roles
from proxysite.testing import browser

pytestmark = browser.MARKS
WIDTHS = pytest.mark.parametrize(
    "browse", [browser.DESKTOP, browser.PHONE], indirect=True, ids=["desktop", "phone"]
)
SUMS = """prompt_tokens completion_tokens reasoning_tokens cached_tokens cache_write_tokens
    unknown_cost_requests"""


def create_rows(alice_id: int, key_id: int) -> None:
    roles.update_roles()
    alice = User.objects.get(pk=alice_id)
    alice.groups.add(Group.objects.get(name="Viewer"))
    team = Team.objects.create(name="Research")
    TeamMember.objects.create(user=alice, team=team)
    LimitSet.objects.create(user=alice, month_budget_usd=50, requests_per_minute=60)
    LimitSet.objects.create(key_id=key_id, total_budget_usd=5)
    for kind, subject in (("key", key_id), ("user", alice_id)):
        Spend.objects.create(
            subject_kind=kind, subject_id=subject, slot="1970-01-01T00:00Z", micro_usd=3_100_000
        )
    today = timezone.now().date()
    for ago in range(0, 28, 2):
        UsageDay.objects.create(
            **dict.fromkeys(SUMS.split(), 0),
            slot=today - timedelta(days=ago),
            key_id=key_id,
            user_id=alice_id,
            team_id=team.pk,
            model="m",
            provider_id=0,
            token_id=NIL_UUID,
            status="complete",
            requests=3 + ago,
            cost_micro_usd=100_000 * (1 + ago),
        )
    AuditEntry.objects.create(
        actor_name="operator",
        address="203.0.113.7",
        action="changed",
        model="api.apikey",
        object_id=str(key_id),
        object_name="sk-ps-…",
        changes={"name": ["laptop", "desk"], "expires_at": [None, "2031-12-31T22:59:59+00:00"]},
    )
    AccessAttempt.objects.create(
        username="june",
        ip_address="198.51.100.9",
        failures_since_start=12,
        user_agent="",
        path_info="/admin/login/",
    )


@WIDTHS
async def test_the_pages_of_people_are_sound(browse, operator, alice, provider) -> None:
    await run_in_thread(create_rows, alice.user.pk, alice.row.pk)
    await browse.sign_in("operator")
    entry = await run_in_thread(AuditEntry.objects.filter(action="changed").first)
    team = await run_in_thread(Team.objects.get)
    for path in (
        "/admin/api/apikey/",
        f"/admin/api/apikey/{alice.row.pk}/change/",
        f"/admin/api/apikey/{alice.row.pk}/rotate/",
        f"/admin/api/apikey/{alice.row.pk}/revoke/",
        "/admin/auth/user/",
        f"/admin/auth/user/{alice.user.pk}/change/",
        "/admin/auth/user/import/",
        "/admin/auth/group/",
        f"/admin/api/team/{team.pk}/change/",
        "/admin/proxysite/auditentry/",
        f"/admin/proxysite/auditentry/{entry.pk}/change/",
        "/admin/proxysite/loginsession/",
        "/admin/locks/",
    ):
        await browse.open(path)
        await browse.check_accessibility()


@WIDTHS
async def test_a_key_is_issued_with_chosen_models_and_copied(browse, operator, provider) -> None:
    await browse.sign_in("operator")
    page = await browse.open("/admin/api/apikey/add/")
    await browse.check_accessibility()
    await page.fill("#id_new_user", "june")
    await page.fill("#id_name", "laptop")
    await page.fill("#id_expires_at", "end of year")
    await page.fill(".model-filter", "m")
    await page.check('input[name="allowed_models"][value="m"]')
    assert await page.is_checked('input[name="model_choice"][value="chosen"]')
    await page.click('input[name="_save"]')
    key = await page.inner_text("#issued-key")
    assert key.startswith("sk-ps-")
    await page.click('[data-copy="#issued-key"]')
    await browse.check("issued")
    await browse.check_accessibility()
    row = await run_in_thread(ApiKey.objects.get, name="laptop")
    assert row.allowed_models == ["m"]
    await page.click("text=I have copied it")
    assert key not in await page.content()
