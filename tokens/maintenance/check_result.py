"""The results of checks: the outcome for one token, and the words for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from providers import registry, vault
from providers.exceptions import (
    AuthRejected,
    Contended,
    QuotaExhausted,
    RateLimited,
    UpstreamError,
)
from providers.upstream.base_adapter import BaseAdapter
from tokens.models import UpstreamToken

WORKS = "works"
REJECTED = "rejected"
UNPROVEN = "unproven"
RATE_LIMITED = "rate limited"
OUT_OF_QUOTA = "out of quota"
PROVIDER_FAILED = "provider failed"
UNREADABLE = "unreadable"
OUTCOME_OF_ERROR = {
    AuthRejected: REJECTED,
    RateLimited: RATE_LIMITED,
    QuotaExhausted: OUT_OF_QUOTA,
    vault.VaultError: UNREADABLE,
    Contended: UNPROVEN,
    UpstreamError: PROVIDER_FAILED,  # all other errors
}
WORDS_OF_OUTCOME = {UNPROVEN: "could not be proved"}  # where the name alone is not clear
OPEN_LIST_REASON = "the upstream's model list needs no token"
OPEN_CHECK_REASON = "the upstream answers the same question without a token"

Problem = UpstreamError | vault.VaultError


class CheckResult(NamedTuple):
    """The outcome of one token's check, the error that led to it, and how long it took."""

    outcome: str
    problem: Problem | None = None
    milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one token's check, for a report.

    `reason` is empty when the token works, `change` when nothing was written, `milliseconds` when
    the upstream was not asked.
    """

    token: UpstreamToken
    outcome: str
    reason: str = ""
    change: str = ""
    milliseconds: int | None = None

    def __str__(self) -> str:
        """Describe the result in plain words: `rejected: The key is void. (disabled)`."""
        text = WORDS_OF_OUTCOME.get(self.outcome, self.outcome)
        if self.reason:
            text += f": {self.reason}"
        if self.change:
            text += f" ({self.change})"
        return text


def classify_problem(problem: Problem | None, *, needs_no_token: bool) -> CheckResult:
    """Return the result for a token; `needs_no_token`: the upstream answers without one."""
    if problem is None:
        return CheckResult(UNPROVEN if needs_no_token else WORKS)
    for error_class, outcome in OUTCOME_OF_ERROR.items():
        if isinstance(problem, error_class):
            return CheckResult(outcome, problem)
    raise TypeError(problem)


def explain_outcome(token: UpstreamToken, result: CheckResult) -> str:
    """Return the reason for the outcome; empty when the token works."""
    if result.problem is not None:
        return str(result.problem)
    if result.outcome != UNPROVEN:
        return ""
    if checks_with_model_list(registry.get_adapter_class(token.provider.kind)):
        return OPEN_LIST_REASON
    return OPEN_CHECK_REASON


def checks_with_model_list(adapter_class: type[BaseAdapter]) -> bool:
    """Return whether the adapter checks a credential by the plain list of models."""
    return adapter_class.probe_credential is BaseAdapter.probe_credential


def summarize_outcomes(outcomes: Mapping[str, int]) -> str:
    """Return a summary such as `3 work, 1 rejected`; empty when there are no outcomes."""
    ordered = sorted(outcomes.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {_describe_outcome(name, count)}" for name, count in ordered)


def _describe_outcome(name: str, count: int) -> str:
    if name == WORKS and count != 1:
        return "work"
    return WORDS_OF_OUTCOME.get(name, name)
