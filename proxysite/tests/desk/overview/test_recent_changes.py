"""The latest failures and changes of tokens: equal ones are one line, callers' errors no alarm."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from api.models import Status, UsageRecord
from api.request_ids import first_id_at
from proxysite.desk.overview import recent_changes
from proxysite.testing import rows
from proxysite.tests.desk.pages import create_record, read_page, read_text
from tokens.models import UpstreamToken

pytestmark = pytest.mark.django_db


def test_recent_failures_come_with_their_reasons_newest_first(admin_client, provider, token):
    times = [timezone.now() - timedelta(seconds=seconds) for seconds in (5, 4, 3, 2)]
    create_record(token, at=times[0], outcome="RateLimited", reason="too many at once")
    create_record(
        token, at=times[1], outcome="ServerFailed", reason="it broke", status=Status.ERROR
    )
    create_record(at=times[2], outcome=None, status=Status.ERROR, error_code="no_available_token")
    create_record(at=times[3], outcome="abandoned", status=Status.ABANDONED)
    create_record(token)
    shown = read_text(admin_client).split("Recent failures", 1)[1]
    places = [shown.index(word) for word in ("no_available_token", "it broke", "too many at once")]
    assert places == sorted(places)
    assert shown.count("The callers were answered by other attempts.") == 1


def test_equal_failures_are_one_line_with_their_number(admin_client, provider):
    tokens = rows.create_tokens(provider, *(f"sk-number-{number}" for number in range(8)))
    for token in tokens:
        create_record(token, outcome="AuthRejected", reason="auth: wrong key")
    shown = read_text(admin_client)
    assert shown.count("auth: wrong key") == 1
    assert "AuthRejected × 8" in shown
    assert "with 8 tokens" in shown


def test_the_errors_of_callers_are_no_alarm(admin_client, provider):
    create_record(outcome=None, status="error", http_status=400, error_code="invalid_value")
    shown = read_text(admin_client)
    assert "the caller's own error" in shown.replace("&#x27;", "'")
    assert 'badge-off">invalid_value' in read_page(admin_client)


def test_a_failure_is_found_behind_many_good_answers(admin_client, token, monkeypatch):
    monkeypatch.setattr(recent_changes, "SEARCHED_REQUESTS", 5)
    before = timezone.now() - timedelta(seconds=5)
    create_record(token, at=before, outcome="RateLimited", reason="answered all the same")
    create_record(
        token,
        at=before + timedelta(seconds=1),
        outcome="ServerFailed",
        reason="it broke",
        status=Status.ERROR,
    )
    for _ in range(6):
        create_record(token)
    shown = read_text(admin_client)
    assert "it broke" in shown
    assert "answered all the same" not in shown


def test_tokens_that_changed_alike_are_one_line(admin_client, provider):
    rows.create_tokens(provider, *(f"sk-number-{number}" for number in range(5)))
    UpstreamToken.objects.all().add_strike(1, "auth: sign in again")
    shown = read_text(admin_client).split("Tokens that changed", 1)[1]
    assert "disabled 5 tokens of k2 , before: active auth: sign in again" in shown
    assert shown.count("auth: sign in again") == 1


@pytest.mark.parametrize("status", ["complete", "error"])
def test_requests_of_a_span_are_found_by_an_index(status):
    create_record(status=status)
    records = UsageRecord.objects.filter(id__gte=first_id_at(timezone.now() - timedelta(hours=1)))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL enable_seqscan = off"
            )  # which suits a table of one row better
    plan = records.order_by("-id").explain()
    assert "index" in plan.lower(), plan
