"""`doctor` says for each part how it is and what to do, and exits with 1 on a problem."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from providers.models import Provider
from proxysite.doctor import database_checks, home_checks, upstream_checks, worker_checks
from proxysite.doctor.findings import OK, PROBLEM, WARNING
from proxysite.testing import rows
from tokens import secret_check

pytestmark = pytest.mark.django_db


def find(findings, subject):
    return next(finding for finding in findings if finding.subject == subject)


def run_task(**ago):
    schedule = IntervalSchedule.objects.create(every=1, period="minutes")
    PeriodicTask.objects.create(
        name="x", task="x", interval=schedule, last_run_at=timezone.now() - timedelta(**ago)
    )


def run_doctor(capsys):
    try:
        call_command("doctor", "--offline", "--format", "json")
    except CommandError as error:
        return json.loads(capsys.readouterr().out), str(error)
    return json.loads(capsys.readouterr().out), ""


def test_everything_is_fine_after_a_start(capsys):
    secret_check.require_secrets()
    run_task(seconds=20)
    rows.create_tokens(rows.create_provider("https://api.example.com/v1", "acme"), "sk-1")
    findings, error = run_doctor(capsys)
    assert error == ""
    states = {finding["subject"]: finding["state"] for finding in findings}
    wanted = {"version", "home", "disk", "database", "tables", "secrets", "redis", "beat"}
    assert states.keys() >= wanted | {"tokens of acme"}
    assert PROBLEM not in states.values(), findings


def test_problems_are_counted_and_each_has_one_line(capsys):
    provider = rows.create_provider("https://api.example.com/v1", "acme")
    rows.create_tokens(provider, "sk-1", state="disabled")
    run_task(hours=2)
    with pytest.raises(CommandError, match="2 problems found"):
        call_command("doctor", "--offline")
    lines = capsys.readouterr().out.splitlines()
    problems = [line for line in lines if line.startswith("PROBLEM")]
    assert len(problems) == 2
    assert "beat: Beat is silent" in problems[0]
    assert "tokens of acme: 0 of 1 can be used. manage.py list_tokens acme" in problems[1]


def test_a_provider_without_tokens_is_a_warning_unless_it_needs_none():
    rows.create_provider("https://api.example.com/v1", "empty")
    free = rows.create_provider("https://local.example.com/v1", "free")
    Provider.objects.filter(pk=free.pk).update(needs_token=False)
    findings = list(upstream_checks.check_tokens())
    assert find(findings, "tokens of empty").state == WARNING
    free_finding = find(findings, "tokens of free")
    assert (free_finding.state, free_finding.text) == (OK, "it needs none")


def test_other_secrets_than_those_of_the_database_are_named(settings):
    secret_check.require_secrets()
    settings.KEY_PEPPER = "another"
    (finding,) = database_checks.check_secrets()
    assert finding.state == PROBLEM
    assert "KEY_PEPPER" in finding.text


def test_a_full_disk_an_open_home_and_kept_rows_are_seen(settings, tmp_path):
    root = settings.HOME.root
    settings.DISK_WARNING_BYTES = 2**60
    assert find(home_checks.check_home(), "disk").state == PROBLEM
    before = root.stat().st_mode
    root.chmod(0o755)
    try:
        assert find(home_checks.check_home(), "home").state == WARNING
    finally:
        root.chmod(before)
    refused = root / "spool" / "refused.jsonl"
    refused.parent.mkdir(exist_ok=True)
    refused.write_text("{}")
    try:
        assert "refused.jsonl" in find(home_checks.check_kept_rows(), "spool").text
    finally:
        refused.unlink()


def test_redis_that_does_not_answer_is_a_problem(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    (finding,) = worker_checks.check_redis()
    assert finding.state == PROBLEM


def test_the_way_to_an_upstream_is_tried(closed_port):
    rows.create_provider(f"http://127.0.0.1:{closed_port}/v1", "acme")
    Provider.objects.update(allow_private=True)
    (finding,) = upstream_checks.check_reachability()
    assert finding.state == PROBLEM
    assert str(closed_port) in finding.text
    assert "test_provider" in finding.advice
