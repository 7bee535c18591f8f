"""The sums of keys, users and teams that their pages in the admin show."""

from datetime import UTC, datetime, timedelta

import pytest

from api.admin.requests.usage_section import render_totals
from api.models import Team, UsageRecord
from api.usage.folding import fold_all_records
from api.usage.subject_totals import list_teams_within, read_subject_totals
from proxysite.testing.rows import Person

pytestmark = pytest.mark.usefixtures("transactional_db")


def create_record(person: Person, days_ago: int, **fields: object) -> None:
    values = {
        "started_at": datetime.now(UTC) - timedelta(days=days_ago),
        "user_id": person.user.pk,
        "key_id": person.row.pk,
        "endpoint": "chat/completions",
        "model": "m",
        "stream": False,
        "status": "complete",
        "prompt_tokens": 10,
        "completion_tokens": 5,
    }
    UsageRecord.objects.create(**values | fields)


def test_sums_are_of_today_of_a_week_and_of_a_month(alice: Person, mallory: Person) -> None:
    create_record(alice, 0, cost_micro_usd=1_500)
    create_record(alice, 6, cost_micro_usd=500)
    create_record(alice, 29)
    create_record(alice, 30, cost_micro_usd=7)
    create_record(alice, 0, status="refused", request_count=4, cost_micro_usd=0)
    create_record(mallory, 0, cost_micro_usd=9_000)
    fold_all_records()
    today, week, month = read_subject_totals("user_id", [alice.user.pk])
    assert (today.requests, week.requests, month.requests) == (1, 2, 3)
    assert (today.cost_micro_usd, month.cost_micro_usd) == (1_500, 2_000)
    assert (today.refused_requests, month.unknown_cost_requests) == (4, 1)
    assert (today.tokens, month.tokens) == (15, 45)
    table = render_totals("key_id", [alice.row.pk])
    assert "<td>0.0015 USD</td>" in table
    assert "0.002 USD, unknown for 1 request<" in table


def test_a_team_counts_those_within_it(alice: Person, mallory: Person) -> None:
    whole = Team.objects.create(name="Company")
    part = Team.objects.create(name="Research", parent=whole)
    create_record(alice, 0, team_id=whole.pk)
    create_record(mallory, 0, team_id=part.pk)
    fold_all_records()
    assert read_subject_totals("team_id", list_teams_within(whole))[0].requests == 2
    assert read_subject_totals("team_id", list_teams_within(part))[0].requests == 1
