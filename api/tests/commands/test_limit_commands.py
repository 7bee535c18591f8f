"""The commands about limits: issue_key with limits, set_limits, list_limits."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from api import authentication, keys
from api.limits.limit_texts import PERIOD_TEXT
from api.limits.limit_values import BUDGET_TEXT, COUNT_TEXT
from api.models import ApiKey, LimitSet, Team
from providers.models import ChatModel, Provider
from providers.tests.command_runner import refused, run

pytestmark = pytest.mark.django_db


@pytest.fixture
def echo() -> None:
    provider = Provider.objects.create(name="echo", kind="echo", needs_token=False)
    for name in ("echo", "gpt-5", "gpt-5-mini"):
        ChatModel.objects.create(public_id=name, provider=provider, upstream_name=name)


@pytest.fixture
def key() -> ApiKey:
    return keys.create_key(User.objects.create_user("alice"))[0]


# --- issue_key ------------------------------------------------------------------------------------
def test_a_key_is_issued_with_limits() -> None:
    words = ("--rpm", "60", "--tpm", "100000", "--concurrency", "4", "--budget", "5/day|50/month")
    more = ("--rolling", "--time-zone", "Europe/Berlin", "--ip", "10.0.0.0/8,::1")
    run("issue_key", "alice", *words, *more, "--endpoints", "/v1/chat/*", "--notify-owner")
    limits = LimitSet.objects.get()
    assert limits.key == ApiKey.objects.get()
    counts = (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent_requests)
    assert counts == (60, 100_000, 4)
    assert (limits.day_budget_usd, limits.month_budget_usd) == (Decimal(5), Decimal(50))
    assert (limits.budget_window, limits.time_zone) == ("rolling", "Europe/Berlin")
    assert (limits.ip_ranges, limits.allowed_endpoints) == (["10.0.0.0/8", "::1"], ["/v1/chat/*"])
    assert limits.notifies_owner


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--rpm", "0"), f"--rpm: {COUNT_TEXT}"),
        (("--tpm", "many"), f"--tpm: {COUNT_TEXT}"),
        (("--concurrency", "1.5"), f"--concurrency: {COUNT_TEXT}"),
        (("--budget", "5"), f"--budget: {PERIOD_TEXT}"),
        (("--budget", "5/week"), f"--budget: {PERIOD_TEXT}"),
        (("--budget", "1e12/day"), f"--budget: {BUDGET_TEXT}"),
        (("--time-zone", "Mars"), "--time-zone: There is no time zone 'Mars'; write a name"),
        (("--ip", "10.0.0.1/8"), "--ip: '10.0.0.1/8' is no IP range"),
        (("--endpoints", "chat"), "--endpoints: 'chat' is no endpoint"),
    ],
)
def test_impossible_limits_issue_no_key(words: tuple[str, str], sentence: str) -> None:
    assert refused("issue_key", "alice", *words).startswith(sentence)
    assert not User.objects.exists()


@pytest.mark.settings(DEFAULT_KEY_LIMITS="rpm=60")
def test_the_setting_has_the_limits_of_keys_that_get_no_others() -> None:
    run("issue_key", "alice")
    run("issue_key", "bob", "--tpm", "9")
    rows = LimitSet.objects.order_by("pk").values_list("requests_per_minute", "tokens_per_minute")
    assert list(rows) == [(60, None), (None, 9)]


def test_a_key_may_be_limited_to_models_by_pattern(echo: None) -> None:
    secret = run("issue_key", "alice", "--models", "gpt-5*,echo").strip()
    caller = authentication.load_caller(keys.digest_key(secret))
    assert caller is not None
    assert caller.can_use_model("gpt-5-mini", "gpt-5-mini")
    assert caller.can_use_model("echo", "echo")
    assert not caller.can_use_model("gpt-4", "gpt-4")
    assert "gpt-6*" in refused("issue_key", "alice", "--models", "gpt-6*")


def test_a_default_model_may_be_one_of_a_pattern(echo: None) -> None:
    run("issue_key", "alice", "--models", "gpt-5*", "--default-model", "gpt-5-mini")
    refused("issue_key", "alice", "--models", "gpt-5*", "--default-model", "echo")


# --- set_limits -----------------------------------------------------------------------------------
def test_limits_are_set_changed_and_taken_away(key: ApiKey) -> None:
    out = run("set_limits", "--key", key.prefix, "--rpm", "60", "--budget", "5/day")
    assert out == f"The limits of the key {key} are: rpm=60,budget=5/day.\n"
    run("set_limits", "--key", key.prefix, "--rpm", "none", "--budget", "50/month")
    limits = LimitSet.objects.get()
    assert limits.requests_per_minute is None
    assert (limits.day_budget_usd, limits.month_budget_usd) == (Decimal(5), Decimal(50))
    run("set_limits", "--key", key.prefix, "--clear", "--concurrency", "2")
    limits = LimitSet.objects.get()
    assert (limits.day_budget_usd, limits.concurrent_requests) == (None, 2)
    assert "none in numbers" in run("set_limits", "--key", key.prefix, "--clear")
    assert not LimitSet.objects.exists()


def test_users_teams_and_end_users_have_limits_too(key: ApiKey, echo: None) -> None:
    team = Team.objects.create(name="Research")
    run("set_limits", "--user", "alice", "--rpm", "1", "--models", "gpt-5*")
    run("set_limits", "--team", "Research", "--rpm", "2")
    run("set_limits", "--key", key.prefix, "--each-end-user", "--rpm", "3")
    run("set_limits", "--key", key.prefix, "--rpm", "4")
    assert LimitSet.objects.get(user=key.user).allowed_models == ["gpt-5*"]
    assert LimitSet.objects.get(team=team).requests_per_minute == 2
    rows = key.limit_sets.values_list("for_each_end_user", "requests_per_minute")
    assert sorted(rows) == [(False, 4), (True, 3)]


def test_a_raise_has_an_end_in_the_zone_of_the_limits(key: ApiKey) -> None:
    run("set_limits", "--user", "alice", "--budget", "5/day", "--time-zone", "Europe/Berlin")
    run("set_limits", "--user", "alice", "--raise-budget", "2", "--until", "2999-12-24")
    limits = LimitSet.objects.get()
    assert limits.raise_until is not None
    assert (limits.raise_usd, limits.raise_until.isoformat()) == (
        Decimal(2),
        "2999-12-24T23:00:00+00:00",
    )
    run("set_limits", "--user", "alice", "--raise-budget", "none")
    assert LimitSet.objects.get().raise_usd is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--user", "alice"), "Name a limit"),
        (("--user", "nobody", "--rpm", "5"), "There is no user 'nobody'."),
        (("--team", "Nobody", "--rpm", "5"), "There is no team 'Nobody'"),
        (("--key", "sk-none", "--rpm", "5"), "No key begins with sk-none."),
        (("--user", "alice", "--each-end-user", "--rpm", "5"), "--each-end-user goes with --key."),
        (("--user", "alice", "--raise-budget", "2"), "--raise-budget needs --until"),
        (("--user", "alice", "--until", "2999-12-24"), "--raise-budget needs --until"),
        (
            ("--user", "alice", "--raise-budget", "2", "--until", "2999-12-24"),
            "raise_usd: There is",
        ),
        (("--user", "alice", "--raise-budget", "2", "--until", "2020-01-01"), "The end of the"),
        (("--user", "alice", "--raise-budget", "x", "--until", "2999-12-24"), BUDGET_TEXT),
        (("--user", "alice", "--models", "gpt-9*"), "No such model: gpt-9*."),
        (("--user", "alice", "--rpm", "-5"), f"--rpm: {COUNT_TEXT}"),
    ],
)
def test_mistakes_change_nothing(key: ApiKey, words: tuple[str, ...], sentence: str) -> None:
    assert refused("set_limits", *words).startswith(sentence)
    assert not LimitSet.objects.exists()


def test_a_dry_run_changes_nothing(key: ApiKey) -> None:
    assert "would be: rpm=5" in run("set_limits", "--user", "alice", "--rpm", "5", "--dry-run")
    assert not LimitSet.objects.exists()


# --- list_limits ----------------------------------------------------------------------------------
def test_limits_are_listed(key: ApiKey) -> None:
    assert "No limits yet" in run("list_limits")
    run("set_limits", "--key", key.prefix, "--rpm", "60", "--ip", "10.0.0.0/8")
    run("set_limits", "--user", "alice", "--budget", "5/day")
    run("set_limits", "--user", "alice", "--raise-budget", "2", "--until", "2999-12-23")
    head, *lines = run("list_limits").splitlines()
    assert head.split() == ["OF", "NAME", "LIMITS", "ALSO"]
    assert lines[0].split() == ["key", str(key), "rpm=60", "ip_ranges=10.0.0.0/8"]
    assert lines[1].split() == "user alice budget=5/day raise=2 until 2999-12-24".split()
    entries: list[Any] = json.loads(run("list_limits", "--format", "json"))
    assert (entries[0]["of"], entries[0]["requests_per_minute"]) == ("key", 60)
    assert entries[1]["day_budget_usd"] == "5.000000"
