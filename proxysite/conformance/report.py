"""The report as a table for people and as JSON for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from providers.protocol.json_types import JsonObject
from proxysite.conformance.judge import VERDICTS, Verdict

TITLE_CHARS = 26
VERDICT_CHARS = 14


def describe_verdict(verdict: Verdict) -> str:
    """Return one line of the table."""
    scenario = verdict.scenario
    title = scenario.title.ljust(TITLE_CHARS)
    word = verdict.verdict.ljust(VERDICT_CHARS)
    return f"{scenario.id}  {title}{word}{' '.join(verdict.reason.split())}"


def count_verdicts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    counts = Counter(verdict.verdict for verdict in verdicts)
    return {name: counts[name] for name in VERDICTS}


def summarize_verdicts(verdicts: Sequence[Verdict]) -> str:
    counts = count_verdicts(verdicts)
    parts = [f"{number} {name}" for name, number in counts.items()]
    return f"{len(verdicts)} scenarios: {', '.join(parts)}"


def build_json_report(verdicts: Sequence[Verdict]) -> JsonObject:
    scenarios = [build_verdict_report(verdict) for verdict in verdicts]
    return {"summary": count_verdicts(verdicts), "scenarios": scenarios}


def build_verdict_report(verdict: Verdict) -> JsonObject:
    scenario = verdict.scenario
    evidence = verdict.evidence
    report: JsonObject = {
        "id": scenario.id,
        "title": scenario.title,
        "fault": scenario.fault,
        "conduct": scenario.conduct,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "checks": [asdict(finding) for finding in verdict.findings],
    }
    if evidence is not None:
        report["answers"] = [asdict(answer) for answer in evidence.answers]
        requests = (*evidence.faulty_requests, *evidence.fallback_requests)
        report["asked"] = [remove_body(asdict(request)) for request in requests]
    return report


def remove_body(request: JsonObject) -> JsonObject:
    return {name: value for name, value in request.items() if name != "body"}
