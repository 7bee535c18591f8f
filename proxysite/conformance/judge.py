"""Turn the evidence of a scenario into a verdict.

There are five verdicts:

    pass           the outcome is the right one, and every check holds
    partial        the outcome is the right one, but an advised check does not hold
    safe           no answer, but a clear error in bounded time, and every required check holds
    fail           a required check does not hold, a call hangs, or a part of an answer is passed
                   off as the whole
    not exercised  the fault was not played, so nothing is shown
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from proxysite.conformance.caller import ANSWERED, ERROR, HANG
from proxysite.conformance.dialogue import ANSWER_WORDS
from proxysite.conformance.evidence_checks import (
    ADVISED,
    NOTED,
    REQUIRED,
    Evidence,
    Finding,
    format_times,
)
from proxysite.conformance.scenarios import Scenario

PASS = "pass"  # noqa: S105
PARTIAL = "partial"
SAFE = "safe"
FAIL = "fail"
NOT_EXERCISED = "not exercised"
VERDICTS = (PASS, PARTIAL, SAFE, FAIL, NOT_EXERCISED)


@dataclass(frozen=True, slots=True)
class Verdict:
    scenario: Scenario
    verdict: str
    reason: str
    findings: tuple[Finding, ...] = ()
    evidence: Evidence | None = field(default=None, repr=False)


def judge_evidence(scenario: Scenario, evidence: Evidence) -> Verdict:
    findings = tuple(check.make_finding(evidence) for check in scenario.checks)
    verdict, reason = decide_verdict(scenario, evidence, findings)
    return Verdict(scenario, verdict, reason, findings, evidence)


def decide_verdict(
    scenario: Scenario, evidence: Evidence, findings: Sequence[Finding]
) -> tuple[str, str]:
    """Return the verdict, and its reason in one line."""
    answer = evidence.deciding_answer
    hanging = [answer.error for answer in evidence.answers if answer.outcome == HANG]
    if hanging:
        return FAIL, f"hangs: {hanging[0]}"
    if answer.outcome == ANSWERED and not answer.is_whole:
        return FAIL, f"passes off as the answer what is not it ({describe_word_count(answer.text)})"
    if not evidence.was_exercised:
        return NOT_EXERCISED, describe_unplayed_fault(scenario, evidence)
    missed = [finding for finding in findings if not finding.ok]
    required = [finding for finding in missed if finding.weight == REQUIRED]
    if required:
        return FAIL, describe_findings(required)
    advised = [finding for finding in missed if finding.weight == ADVISED]
    if scenario.wants_error and answer.outcome == ANSWERED:
        return PARTIAL, "answered by another model instead of an error"
    if (answer.outcome == ERROR) != scenario.wants_error:
        return SAFE, f"no answer, but a clear error ({answer.error})"
    if advised:
        return PARTIAL, describe_findings(advised)
    noted = [finding.text for finding in findings if finding.weight == NOTED]
    return PASS, "; ".join([describe_pass(scenario, evidence), *noted])


def describe_pass(scenario: Scenario, evidence: Evidence) -> str:
    if scenario.wants_error:
        return f"refused after one attempt ({evidence.deciding_answer.error})"
    if scenario.is_outage:
        return f"{len(evidence.answers)} requests answered"
    where = "by the fallback" if evidence.fallback_requests else "by the same upstream"
    return f"answered {where} after {evidence.slowest_answer_seconds:.1f} s"


def describe_word_count(text: str) -> str:
    return f"{len(text.split())} words of {len(ANSWER_WORDS)}"


def describe_findings(findings: list[Finding]) -> str:
    return "; ".join(f"{finding.name}: no, {finding.text}" for finding in findings)


def describe_unplayed_fault(scenario: Scenario, evidence: Evidence) -> str:
    number = len(evidence.faulty_requests)
    requests = f"{scenario.model} was asked {format_times(number)} and its fault did not come about"
    answer = evidence.deciding_answer.error or "the caller was answered"
    return f"{requests}; {answer}"
