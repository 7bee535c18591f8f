"""The judge of the sixteen faults, before toy gateways: a good one passes all, each vice is
seen.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from proxysite.conformance.judge import FAIL, NOT_EXERCISED, PARTIAL, PASS, SAFE, Verdict
from proxysite.conformance.run import ConformanceRun, SetupError
from proxysite.conformance.scenarios import SCENARIOS, Scenario
from proxysite.conformance.timings import Timings
from proxysite.conformance.upstream import FaultyUpstream
from proxysite.testing.upstream_server import Upstream
from proxysite.tests.toy_gateways import ToyGateway

# Faults that a toy waits out last far longer than its patience: only a bad one would meet their
# end.
TIMINGS = Timings(
    retry_after_seconds=1.0,
    slow_start_seconds=12.0,
    stall_seconds=12.0,
    silence_seconds=30.0,
    outage_seconds=1.0,
    outage_requests=6,
    outage_interval_seconds=0.3,
    word_seconds=0.0,
    hang_seconds=20.0,
    recovery_seconds=30.0,
    reach_seconds=0.0,
)
BY_ID = {one.id: one for one in SCENARIOS}


@pytest.fixture
async def wall() -> AsyncIterator[str]:
    """The address of a faulty upstream."""
    server = FaultyUpstream()
    port = await server.start()
    yield f"http://127.0.0.1:{port}"
    await server.stop()


@pytest.fixture
async def toy(wall: str, upstream: Upstream) -> AsyncIterator[Any]:
    """`await toy(conduct, "S01")`: the verdict on a toy gateway of that conduct."""
    gateway = ToyGateway(wall)

    async def judge(
        conduct: str, scenario: str, timings: Timings = TIMINGS, **options: Any
    ) -> Verdict:
        upstream.set_default_script(getattr(gateway, conduct))
        async with ConformanceRun(upstream.url, "sk-caller", wall, timings, **options) as run:
            return await run.judge_scenario(BY_ID[scenario])

    yield judge
    await gateway.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
async def test_a_gateway_that_does_well_passes(toy: Any, scenario: Scenario) -> None:
    verdict = await toy("do_well", scenario.id)
    assert verdict.verdict == PASS, (verdict.reason, verdict.evidence)


@pytest.mark.parametrize(
    ("conduct", "scenario", "reason"),
    [
        ("call_parts_whole", "S08", "what is not it (40 words of 60)"),
        ("call_parts_whole", "S09", "what is not it (20 words of 60)"),
        ("call_parts_whole", "S14", "what is not it (40 words of 60)"),
        ("call_parts_whole", "S04", "what is not it (0 words of 60)"),
        ("go_on_with_another", "S08", "what is not it (100 words of 60)"),
        ("hammer", "S02", "not hammered"),
        ("hammer", "S04", "asked at most 6 times: no, the upstream was asked 10 times"),
        ("hammer", "S12", "not sent again unchanged"),
        ("hammer", "S13", "asked at most once: no, the upstream was asked 10 times"),
        ("hide_the_fallback", "S16", "fb-ok is named nowhere"),
        ("give_up_once", "S09", "alive afterwards: no"),
        ("give_up_once", "S10", "alive afterwards: no"),
        ("give_up_once", "S15", "served during the outage: no"),
        ("never_return", "S15", "used again after the outage: no"),
    ],
)
async def test_a_vice_fails(toy: Any, conduct: str, scenario: str, reason: str) -> None:
    verdict = await toy(conduct, scenario)
    assert verdict.verdict == FAIL
    assert reason in verdict.reason


async def test_an_answer_that_does_not_end_fails(toy: Any) -> None:
    verdict = await toy("never_end", "S04", replace(TIMINGS, hang_seconds=0.5))
    assert (verdict.verdict, verdict.reason) == (FAIL, "hangs: no end within 0.5 s")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
async def test_a_gateway_that_never_meets_the_fault_passes_nothing(
    toy: Any, scenario: Scenario
) -> None:
    verdict = await toy("make_it_up", scenario.id)
    assert verdict.verdict == NOT_EXERCISED
    assert "was asked 0 times" in verdict.reason


async def test_a_fault_that_whole_answers_cannot_have_is_not_exercised(toy: Any, wall: str) -> None:
    async with ConformanceRun(f"{wall}/v1", "sk-caller", wall, TIMINGS, stream=False) as run:
        assert (await run.judge_scenario(BY_ID["S11"])).verdict == NOT_EXERCISED


@pytest.mark.parametrize(
    ("scenario", "verdict", "reason"),
    [
        ("S01", SAFE, "HTTP 429: Rate limit reached. Ask again in 1 s."),
        ("S08", SAFE, "RemoteProtocolError"),
        ("S10", PASS, "answered by the same upstream"),
        ("S13", PASS, "HTTP 400: The safety system rejects this request."),
    ],
)
async def test_a_caller_without_a_gateway_is_told_the_truth(
    wall: str, scenario: str, verdict: str, reason: str
) -> None:
    async with ConformanceRun(f"{wall}/v1", "sk-caller", wall, TIMINGS) as run:
        found = await run.judge_scenario(BY_ID[scenario])
    assert found.verdict == verdict
    assert reason in found.reason


async def test_whole_answers_are_judged_too(wall: str) -> None:
    async with ConformanceRun(f"{wall}/v1", "sk-caller", wall, TIMINGS, stream=False) as run:
        found = [(await run.judge_scenario(BY_ID[name])).verdict for name in ("S05", "S08", "S10")]
    assert found == [SAFE, SAFE, SAFE]


async def test_the_right_outcome_without_advised_conduct_is_partial(toy: Any) -> None:
    verdict = await toy("go_on_with_another", "S03")
    assert (verdict.verdict, "the same upstream is asked again: no" in verdict.reason) == (
        PARTIAL,
        True,
    )


async def test_a_gateway_that_does_not_lead_to_the_wall_is_not_judged(
    wall: str, toy: Any, upstream: Upstream
) -> None:
    await toy("make_it_up", "S04")
    async with ConformanceRun(upstream.url, "sk-caller", wall, TIMINGS) as run:
        with pytest.raises(SetupError, match="without asking this upstream"):
            await run.wait_until_ready()
    async with ConformanceRun(upstream.url, "sk-caller", "http://127.0.0.1:1", TIMINGS) as run:
        with pytest.raises(SetupError, match="No faulty upstream answers"):
            await run.wait_until_ready()


async def test_a_gateway_that_refuses_the_healthy_model_is_told_so(wall: str) -> None:
    async with ConformanceRun(f"{wall}/v2", "sk-caller", wall, TIMINGS) as run:
        await run.wait_until_ready()  # the wall itself answers under any prefix
    async with ConformanceRun(f"{wall}/control/log?", "sk-caller", wall, TIMINGS) as run:
        with pytest.raises(SetupError, match="does not pass fb-ok on"):
            await run.wait_until_ready()
