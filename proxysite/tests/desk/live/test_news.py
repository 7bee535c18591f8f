"""The board's news: breakers and their states, tasks that run or have just ended, deletions."""

from datetime import timedelta

import pytest
from django.utils import timezone

from providers.models import Deletion, TaskProgress
from providers.task_progress import create_progress, finish_progress
from proxysite.desk.live import news, news_reader
from proxysite.desk.live.news_reader import News, read_news
from proxysite.testing import rows
from tokens.models import BreakerState, State

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider():
    return rows.create_provider("https://api.example.com/v1", "k2")


@pytest.mark.parametrize(
    ("seconds", "changed_days_ago", "states"),
    [
        (30, 0, ["open"]),
        (30, 9, ["open"]),
        (-30, 0, ["half-open"]),
        (None, 0, ["closed"]),
        (None, 9, []),
    ],
)
def test_breakers_are_news_while_open_and_for_a_day_afterwards(
    provider, seconds, changed_days_ago, states
):
    now = timezone.now()
    BreakerState.objects.create(
        provider=provider,
        open_until=None if seconds is None else now + timedelta(seconds=seconds),
        changed_at=now - timedelta(days=changed_days_ago),
        cause="failed",
        reason="502",
        process="x",
    )
    shown = news.read_breakers()
    assert [row["state"] for row in shown] == states
    assert all(row["provider"] == "k2" and row["reason"] == "502" for row in shown)


def test_a_breaker_that_changes_is_new_again(provider):
    row = BreakerState.objects.create(
        provider=provider, changed_at=timezone.now(), cause="failed", process="x"
    )
    before = news.read_breakers()[0]["pk"]
    row.changed_at = timezone.now() + timedelta(seconds=1)
    row.save()
    assert news.read_breakers()[0]["pk"] != before


def test_tasks_that_ended_long_ago_or_died_are_not_shown():
    ended, silent, running, just_ended = (create_progress("x", f"{n}") for n in range(4))
    finish_progress(ended.pk)
    finish_progress(just_ended.pk, "done")
    now = timezone.now()
    TaskProgress.objects.filter(pk=ended.pk).update(finished_at=now - timedelta(hours=1))
    TaskProgress.objects.filter(pk=silent.pk).update(updated_at=now - timedelta(days=1))
    shown = {row["pk"] for row in news.read_tasks()}
    assert shown == {str(running.pk), str(just_ended.pk)}


def test_deletions_are_tasks():
    Deletion.objects.create(model="auth.user", name="gone", requested_by="ann", removed=7)
    (row,) = news.read_tasks()
    assert (row["title"], row["done"], row["started_by"]) == ("gone", 7, "ann")


def change_token(provider):
    (token,) = rows.create_tokens(provider, "t-1")
    token.state = State.DISABLED
    token.save()


def change_breaker(provider):
    BreakerState.objects.create(
        provider=provider, changed_at=timezone.now(), cause="failed", process="x"
    )


def finish_task(provider):
    finish_progress(TaskProgress.objects.get().pk, "done")


def advance_deletion(provider):
    Deletion.objects.filter(name="gone").update(removed=8)


def finish_deletion(provider):
    Deletion.objects.filter(name="gone").update(finished_at=timezone.now())


@pytest.mark.parametrize(
    "change", [change_token, change_breaker, finish_task, advance_deletion, finish_deletion]
)
def test_news_are_read_again_as_soon_as_something_has_changed(
    provider, change, django_assert_num_queries
):
    create_progress("x", "an import")
    Deletion.objects.create(model="auth.user", name="gone", requested_by="ann", removed=7)
    first = read_news(News())
    with django_assert_num_queries(1):
        assert read_news(first) is first
    change(provider)
    second = read_news(first)
    assert second.marker != first.marker
    assert (second.changes, second.breakers, second.tasks) != (
        first.changes,
        first.breakers,
        first.tasks,
    )


def test_news_that_time_makes_are_read_a_little_later(monkeypatch):
    first = read_news(News())
    monkeypatch.setattr(news_reader, "UNCHANGED_SECONDS", 0)
    assert read_news(first) is not first
