"""The command `doctor`: look at everything that the gateway needs, and say what to do."""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict

from django.core.management.base import CommandError
from django.db import Error

from providers.management.base import GatewayCommand
from proxysite.doctor import database_checks, home_checks, upstream_checks, worker_checks
from proxysite.doctor.findings import OK, PROBLEM, WARNING, Check, Finding

CHECKS: tuple[Check, ...] = (
    home_checks.check_program,
    home_checks.check_home,
    home_checks.check_kept_rows,
    database_checks.check_database,
    worker_checks.check_redis,
    worker_checks.check_periodic_work,
    upstream_checks.check_tokens,
)
MARKS = {OK: "ok      ", WARNING: "warning ", PROBLEM: "PROBLEM "}


class Command(GatewayCommand):
    help = (
        "Look at database, tables, secrets, clock, disk, Redis, worker, beat, tokens and the way "
        "to each upstream: one line each, with what to do. Exit status 1 if there is a problem."
    )
    requires_system_checks: list[str] = []
    needs_database = False
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=["text", "json"], default="text")
        parser.add_argument(
            "--offline", action="store_true", help="do not connect to the upstreams"
        )

    def handle(self, *args: object, **options: object) -> None:
        checks = CHECKS
        if not options["offline"]:
            checks = (*CHECKS, upstream_checks.check_reachability)
        findings = []
        for finding in run_checks(checks):
            findings.append(finding)
            if options["format"] == "text":
                self.stdout.write(render_finding(finding))
        if options["format"] == "json":
            self.stdout.write(json.dumps([asdict(finding) for finding in findings]))
        problems = sum(finding.state == PROBLEM for finding in findings)
        if problems:
            raise CommandError(f"{problems} problem{'s' if problems > 1 else ''} found.")


def run_checks(checks: tuple[Check, ...]) -> Iterator[Finding]:
    """Yield the findings of all checks; those that need a database that is away are left out."""
    is_database_away = False
    for check in checks:
        try:
            for finding in check():
                is_database_away |= (finding.subject, finding.state) == ("database", PROBLEM)
                yield finding
        except Error as error:
            if not is_database_away:
                text = str(error).strip().partition("\n")[0]
                yield Finding(
                    "database", PROBLEM, f"A query failed: {text}.", "Start `serve` once."
                )
                is_database_away = True


def render_finding(finding: Finding) -> str:
    """Return the finding as one line."""
    line = f"{MARKS[finding.state]}{finding.subject}: {finding.text}"
    return f"{line} {finding.advice}".rstrip() if finding.advice else line
