"""The dashboard's requests: the latest failures, and counts that an index bounds."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from api.models import Status, UsageRecord
from proxysite.desk import request_statistics
from proxysite.tests.desk.pages import create_record, read_text

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
    shown = read_text(admin_client)
    places = [shown.index(word) for word in ("no_available_token", "it broke", "too many at once")]
    assert places == sorted(places)
    assert shown.count("kimi-k2") == 3
    assert shown.count("The caller was answered by another attempt.") == 1
    assert f"at k2 with {token.masked}" in shown


def test_a_failure_is_found_behind_many_good_answers(admin_client, token, monkeypatch):
    monkeypatch.setattr(request_statistics, "SEARCHED_REQUESTS", 5)
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


def test_requests_are_counted_by_their_time(admin_client, provider, monkeypatch):
    now = timezone.now()
    for minutes, status in (
        (1, "complete"),
        (2, "error"),
        (3, "abandoned"),
        (90, "truncated"),
        (3_000, "error"),
    ):
        create_record(at=now - timedelta(minutes=minutes), status=status)
    assert "last hour 3 of them failed 1 last 24 hours 4 of them failed 2" in read_text(
        admin_client
    )
    monkeypatch.setattr(request_statistics, "MOST_COUNTED", 2)
    assert "last hour 2+ of them failed 1 last 24 hours 2+ of them failed 2" in read_text(
        admin_client
    )


def test_refused_requests_are_counted_each_and_are_no_failures(admin_client, provider):
    create_record(status="refused", request_count=40, refused_by="key requests_per_minute")
    create_record(status="complete")
    shown = read_text(admin_client)
    assert "last hour 41 of them failed 0 last 24 hours 41 of them failed 0" in shown
    assert "requests_per_minute" not in shown


@pytest.mark.parametrize("status", ["complete", "error"])
def test_requests_of_a_span_are_found_by_an_index(status):
    create_record(status=status)
    records = UsageRecord.objects.filter(
        id__gte=request_statistics.first_id_at(timezone.now() - timedelta(hours=1))
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL enable_seqscan = off"
            )  # which suits a table of one row better
    plan = records.order_by("-id").explain()
    assert "index" in plan.lower(), plan
