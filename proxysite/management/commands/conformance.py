"""The command `conformance`: test a gateway with the sixteen faults of the faulty upstream."""

import asyncio
import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from providers.management.base import GatewayCommand
from proxysite.conformance import report
from proxysite.conformance.judge import FAIL, Verdict
from proxysite.conformance.run import ConformanceRun, SetupError
from proxysite.conformance.scenarios import SCENARIOS
from proxysite.conformance.timings import PROFILES

COULD_NOT_JUDGE = 2


class Command(GatewayCommand):
    help = (
        "Judge a gateway by sixteen faults of an upstream (docs/conformance.md). Exit code 1: "
        "it fails one."
    )
    requires_system_checks: list[str] = []
    needs_database = writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "url", help="the gateway's base URL, for example http://127.0.0.1:8000/v1"
        )
        parser.add_argument("key", help="an API key for it")
        parser.add_argument(
            "--wall", default="http://127.0.0.1:8401", help="where `faulty_upstream` serves"
        )
        parser.add_argument(
            "--profile", choices=sorted(PROFILES), default="full", help="how long the faults last"
        )
        parser.add_argument("--only", default="", metavar="S01,S08", help="only these scenarios")
        parser.add_argument(
            "--whole", action="store_true", help="ask for whole answers instead of streams"
        )
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: object, url: str, key: str, **options: Any) -> None:
        known = {scenario.id for scenario in SCENARIOS}
        chosen = set(options["only"].upper().split(",")) if options["only"] else known
        if unknown := chosen - known:
            raise CommandError(
                f"There is no scenario {', '.join(sorted(unknown))}: they are S01 to S16."
            )
        run = ConformanceRun(
            url, key, options["wall"], PROFILES[options["profile"]], stream=not options["whole"]
        )
        try:
            verdicts = asyncio.run(
                self.collect_verdicts(run, chosen, as_text=options["format"] == "text")
            )
        except SetupError as error:
            raise CommandError(str(error), returncode=COULD_NOT_JUDGE) from None
        if options["format"] == "json":
            self.stdout.write(json.dumps(report.build_json_report(verdicts)))
        else:
            self.stdout.write(report.summarize_verdicts(verdicts))
        if any(verdict.verdict == FAIL for verdict in verdicts):
            sys.exit(1)

    async def collect_verdicts(
        self, run: ConformanceRun, scenario_ids: set[str], *, as_text: bool
    ) -> list[Verdict]:
        """Run the chosen scenarios and return the verdicts. Raises SetupError.

        With `as_text` each verdict is printed as soon as it is there.
        """
        verdicts = []
        async with run:
            await run.wait_until_ready()
            scenarios = [scenario for scenario in SCENARIOS if scenario.id in scenario_ids]
            async for verdict in run.judge_scenarios(scenarios):
                verdicts.append(verdict)
                if as_text:
                    self.stdout.write(report.describe_verdict(verdict))
                    self.stdout.flush()
        return verdicts
