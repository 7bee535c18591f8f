"""Every change of a token's state is a row, whoever made it."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from providers.models import Provider
from tokens.models import Transition, UpstreamToken
from tokens.tasks import forget_transitions

pytestmark = pytest.mark.django_db
REQUEST = "req_" + "a" * 32


@pytest.fixture
def token():
    row = UpstreamToken.from_secret(Provider.objects.create(name="p", kind="echo"), "sk-made-up")
    row.save()
    return row


def only(row):
    return UpstreamToken.objects.filter(pk=row.pk)


def later(**time):
    return datetime.now(UTC) + timedelta(**time)


def changes(row):
    found = Transition.objects.filter(token=row).order_by("pk")
    return [(one.before, one.after, one.reason, one.cause) for one in found]


def test_each_change_of_a_querysets_has_its_reason_and_its_request(token):
    only(token).add_cooldown(later(hours=1), "rate limit: slow down", REQUEST)
    only(token).reset_state()
    only(token).mark_exhausted(later(hours=1), "quota: used up", "req_b")
    only(token).mark_recovered("req_c")
    only(token).mark_disabled("by operator")
    only(token).reset_state()
    assert changes(token) == [
        ("active", "resting", "rate limit: slow down", REQUEST),
        ("resting", "active", "", ""),
        ("active", "exhausted", "quota: used up", "req_b"),
        ("exhausted", "active", "", "req_c"),
        ("active", "disabled", "by operator", ""),
        ("disabled", "active", "", ""),
    ]
    assert abs(Transition.objects.latest("pk").at - timezone.now()) < timedelta(minutes=1)


def test_each_strike_is_a_row_also_if_it_changes_no_state(token):
    for number in range(3):
        only(token).add_strike(3, f"auth: {number}", f"req_{number}")
    assert changes(token) == [
        ("active", "active", "auth: 0", "req_0"),
        ("active", "active", "auth: 1", "req_1"),
        ("active", "disabled", "auth: 2", "req_2"),
    ]


def test_a_longer_rest_is_none_and_a_new_one_is(token):
    only(token).add_cooldown(later(minutes=1), "first")
    only(token).add_cooldown(later(minutes=2), "longer")
    only(token).update(rests_until=later(minutes=-1))
    only(token).add_cooldown(later(minutes=1), "new")
    assert [(before, after, reason) for before, after, reason, _ in changes(token)] == [
        ("active", "resting", "first"),
        ("resting", "active", "longer"),
        ("active", "resting", "new"),
    ]


def test_a_quota_that_is_used_up_again_is_one(token):
    only(token).update(state="exhausted", rests_until=later(minutes=-1))
    only(token).mark_exhausted(later(minutes=1), "again", REQUEST)
    assert changes(token)[-1] == ("exhausted", "exhausted", "again", REQUEST)


def test_bare_sql_is_seen_and_gets_no_request_that_was_another_changes(token):
    only(token).add_cooldown(later(minutes=-1), "over", REQUEST)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tokens_upstreamtoken SET state = 'disabled', reason = 'by hand'")
    assert changes(token) == [("active", "disabled", "by hand", "")]


def test_what_changes_no_state_is_none(token):
    only(token).update(label="June", requests=5, priority=3)
    only(token).update(state="active", rests_until=None)
    assert changes(token) == []


def test_a_bulk_change_has_a_row_for_each_token(token):
    UpstreamToken.from_secret(token.provider, "sk-another").save()
    UpstreamToken.objects.all().mark_disabled("all")
    assert Transition.objects.filter(after="disabled").count() == 2


def test_a_token_goes_with_its_changes(token):
    only(token).mark_disabled("x")
    token.delete()
    assert not Transition.objects.exists()


def test_old_changes_are_forgotten(token, settings):
    only(token).mark_disabled("x")
    only(token).reset_state()
    Transition.objects.filter(after="disabled").update(at=later(days=-settings.TRANSITION_DAYS - 1))
    assert forget_transitions() == 1
    assert [one.after for one in Transition.objects.all()] == ["active"]
