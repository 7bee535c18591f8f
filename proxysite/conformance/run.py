"""Run the sixteen scenarios, one after the other, against a gateway before the faulty upstream."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict

import httpx

from proxysite.conformance.caller import Answer, ask_gateway
from proxysite.conformance.evidence_checks import Evidence
from proxysite.conformance.exchange import LoggedRequest
from proxysite.conformance.judge import NOT_EXERCISED, Verdict, judge_evidence
from proxysite.conformance.scenarios import HEALTHY_MODEL, SCENARIOS, Scenario
from proxysite.conformance.timings import Timings

ALIVE_SECONDS = 10.0  # a healthy request after a fault must be answered within it
PAUSE_SECONDS = 0.5  # before a scenario whose fault was not played is repeated


class SetupError(Exception):
    """The faulty upstream or the gateway is missing or not set up, so nothing can be judged."""


class ConformanceRun:
    """One run of the scenarios, used as a context manager.

    `url` is the gateway's base URL with its /v1, `upstream_url` that of the faulty upstream.
    """

    def __init__(
        self, url: str, key: str, upstream_url: str, timings: Timings, *, stream: bool = True
    ) -> None:
        self._gateway = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/",
            headers={"authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(None, connect=10.0),
            trust_env=False,
        )
        self._upstream = httpx.AsyncClient(base_url=upstream_url, timeout=10.0, trust_env=False)
        self._timings = timings
        self._wants_streams = stream

    async def __aenter__(self) -> "ConformanceRun":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._gateway.aclose()
        await self._upstream.aclose()

    # --- the faulty upstream ----------------------------------------------------------------------
    async def reset_upstream(self) -> None:
        """Clear the log of the faulty upstream, and set its timings. Raises SetupError."""
        try:
            timings = {"timings": asdict(self._timings)}
            response = await self._upstream.post("/control/reset", json=timings)
            response.raise_for_status()
        except httpx.HTTPError as error:
            where = self._upstream.base_url
            raise SetupError(f"No faulty upstream answers at {where}: {error}") from None

    async def read_upstream_log(self) -> list[LoggedRequest]:
        try:
            response = await self._upstream.get("/control/log")
            return [LoggedRequest(**entry) for entry in response.json()["log"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise SetupError(f"The faulty upstream's log cannot be read: {error}") from None

    # --- the gateway ------------------------------------------------------------------------------
    async def wait_until_ready(self) -> None:
        """Wait until the gateway answers for the healthy model. Raises SetupError."""
        await self.reset_upstream()
        until = time.monotonic() + self._timings.reach_seconds
        while True:
            answer = await self._ask_model(HEALTHY_MODEL, self._timings.hang_seconds)
            if answer.is_whole:
                break
            if time.monotonic() >= until:
                reason = answer.error or "it answers with another text"
                raise SetupError(
                    f"The gateway does not pass {HEALTHY_MODEL} on to the upstream: {reason}"
                )
            await asyncio.sleep(PAUSE_SECONDS)
        log = await self.read_upstream_log()
        if all(request.model != HEALTHY_MODEL for request in log):
            raise SetupError(
                f"The gateway answers for {HEALTHY_MODEL} without asking this upstream."
            )

    async def judge_scenarios(
        self, scenarios: Sequence[Scenario] = SCENARIOS
    ) -> AsyncIterator[Verdict]:
        for scenario in scenarios:
            yield await self.judge_scenario(scenario)

    async def judge_scenario(self, scenario: Scenario) -> Verdict:
        """Run and judge one scenario; it is repeated while its fault is not played.

        A gateway may still avoid the upstream because of the scenario before.
        """
        until = time.monotonic() + self._timings.reach_seconds
        while True:
            verdict = judge_evidence(scenario, await self.gather_evidence(scenario))
            if verdict.verdict != NOT_EXERCISED or time.monotonic() >= until:
                return verdict
            await asyncio.sleep(PAUSE_SECONDS)

    async def gather_evidence(self, scenario: Scenario) -> Evidence:
        """Make the scenario's requests, and return the evidence."""
        await self.reset_upstream()
        if scenario.is_outage:
            answers = await self._ask_through_outage(scenario)
        else:
            seconds = self._timings.hang_seconds
            if scenario.fault_timing:
                seconds += getattr(self._timings, scenario.fault_timing)
            answers = [await self._ask_model(scenario.model, seconds)]
        log = await self.read_upstream_log()
        evidence = Evidence(
            self._timings,
            scenario.fallback_model,
            answers,
            faulty_requests=[request for request in log if request.model == scenario.model],
            fallback_requests=[
                request for request in log if request.model == scenario.fallback_model
            ],
        )
        if scenario.wants_alive_check and evidence.was_exercised:
            evidence.is_alive = await self._is_alive()
        return evidence

    async def _is_alive(self) -> bool:
        """Return whether a healthy request is answered, at once or after a Retry-After."""
        until = time.monotonic() + ALIVE_SECONDS
        while True:
            answer = await self._ask_model(HEALTHY_MODEL, max(1.0, until - time.monotonic()))
            wait = answer.retry_after_seconds
            if answer.is_whole or not wait or time.monotonic() + wait >= until:
                return answer.is_whole
            await asyncio.sleep(wait)

    async def _ask_through_outage(self, scenario: Scenario) -> list[Answer]:
        """Ask at a fixed pace, beginning with the outage, and return the answers."""
        began = time.monotonic()
        answers = []
        for number in range(self._timings.outage_requests):
            due = began + number * self._timings.outage_interval_seconds
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            begun_at = time.monotonic() - began
            answer = await self._ask_model(scenario.model, self._timings.hang_seconds)
            answer.begun_at = round(begun_at, 3)
            answers.append(answer)
        return answers

    async def _ask_model(self, model: str, seconds: float) -> Answer:
        return await ask_gateway(self._gateway, model, stream=self._wants_streams, seconds=seconds)
