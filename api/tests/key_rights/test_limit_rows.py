"""Limits are written with the key, and the setting has those of a new key."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from api import keys, shared_keys
from api.key_rights.limit_rows import find_default_limits_problem, update_limits
from api.limits.limit_values import COUNT_TEXT
from api.models import LimitSet, Team

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


def test_without_the_setting_a_new_key_has_no_limits(alice: User) -> None:
    keys.create_key(alice)
    assert not LimitSet.objects.exists()


@pytest.mark.settings(DEFAULT_KEY_LIMITS="rpm=60,budget=5/day")
def test_every_new_key_gets_the_limits_of_the_setting(alice: User) -> None:
    keys.create_key(alice)
    keys.add_existing_key(alice, "an-existing-key")
    keys.add_existing_key(alice, "an-existing-key")
    shared_keys.add_shared_key("VALID_API_KEY", "a-shared-key")
    rows = LimitSet.objects.values_list("requests_per_minute", "day_budget_usd")
    assert list(rows) == [(60, Decimal(5))] * 3


@pytest.mark.settings(DEFAULT_KEY_LIMITS="rpm=60")
def test_limits_that_are_given_replace_the_setting(alice: User) -> None:
    keys.create_key(alice, limits={"tokens_per_minute": 9})
    keys.create_key(alice, limits={})
    (limits,) = LimitSet.objects.all()
    assert (limits.requests_per_minute, limits.tokens_per_minute) == (None, 9)


def test_a_setting_that_cannot_be_read_is_named(settings: Any) -> None:
    settings.DEFAULT_KEY_LIMITS = "rpm=0"
    assert find_default_limits_problem() == f"rpm: {COUNT_TEXT}"
    settings.DEFAULT_KEY_LIMITS = "rpm=1"
    assert find_default_limits_problem() == ""


def test_limits_that_are_not_named_stay(alice: User) -> None:
    subject = {"user": alice}
    update_limits(subject, {"requests_per_minute": 5, "total_budget_usd": Decimal(7)})
    update_limits(subject, {"requests_per_minute": None})
    (limits,) = LimitSet.objects.all()
    assert (limits.requests_per_minute, limits.total_budget_usd) == (None, Decimal(7))


@pytest.mark.parametrize(
    "columns",
    [
        {"requests_per_minute": 0},
        {"day_budget_usd": Decimal(-1)},
        {"raise_usd": Decimal(2)},
        {"time_zone": "Mars"},
    ],
)
def test_limits_that_cannot_hold_are_not_written(columns: dict[str, Any]) -> None:
    team = Team.objects.create(name="Research")
    with pytest.raises(ValidationError):
        update_limits({"team": team}, columns)
    assert not LimitSet.objects.exists()
