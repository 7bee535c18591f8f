"""The report as a table for people and as JSON for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from proxysite.conformance.judge import VERDICTS, Verdict

TITLE_CHARS = 26
VERDICT_CHARS = 14


def describe_verdict(verdict: Verdict) -> str:
    """Return one line of the table."""
    scenario = verdict.scenario
    title = scenario.title.ljust(TITLE_CHARS)
    found = verdict.verdict.ljust(VERDICT_CHARS)
    return f"{scenario.id}  {title}{found}{' '.join(verdict.reason.split())}"


def count_verdicts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    counts = Counter(one.verdict for one in verdicts)
    return {name: counts[name] for name in VERDICTS}


def summarize_verdicts(verdicts: Sequence[Verdict]) -> str:
    counts = count_verdicts(verdicts)
    parts = [f"{number} {name}" for name, number in counts.items()]
    return f"{len(verdicts)} scenarios: {', '.join(parts)}"


def build_json_report(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    scenarios = [build_verdict_report(one) for one in verdicts]
    return {"summary": count_verdicts(verdicts), "scenarios": scenarios}


def build_verdict_report(verdict: Verdict) -> dict[str, Any]:
    scenario = verdict.scenario
    evidence = verdict.evidence
    found: dict[str, Any] = {
        "id": scenario.id,
        "title": scenario.title,
        "fault": scenario.fault,
        "conduct": scenario.conduct,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "checks": [asdict(one) for one in verdict.findings],
    }
    if evidence is not None:
        found["answers"] = [asdict(one) for one in evidence.answers]
        asked = (*evidence.faulty_requests, *evidence.fallback_requests)
        found["asked"] = [remove_body(asdict(one)) for one in asked]
    return found


def remove_body(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if name != "body"}
