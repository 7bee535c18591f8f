"""The single checks of the evidence of a scenario.

A `Check` has a function of the evidence that returns whether it holds and, in words, the
observation. Its weight says how much it counts. REQUIRED: a gateway that misses it fails the
scenario. ADVISED: without it the gateway passes only in part. NOTED: it is reported and changes
nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from proxysite.conformance.caller import ANSWERED, ERROR, Answer
from proxysite.conformance.dialogue import ANSWER_WORDS
from proxysite.conformance.exchange import LoggedRequest
from proxysite.conformance.timings import Timings

REQUIRED = "required"
ADVISED = "advised"
NOTED = "noted"


@dataclass(slots=True)
class Evidence:
    """The requests and answers of one scenario, as caller and upstream saw them.

    `faulty_requests` are the requests to the faulty model, `fallback_requests` those to the
    fallback model. `is_alive` says whether a healthy request afterwards was answered; None when
    there was no such request.
    """

    timings: Timings
    fallback_model: str
    answers: Sequence[Answer]
    faulty_requests: Sequence[LoggedRequest] = ()
    fallback_requests: Sequence[LoggedRequest] = ()
    is_alive: bool | None = None

    @property
    def deciding_answer(self) -> Answer:
        """Return the first answer that is not whole, else the last answer."""
        return next((answer for answer in self.answers if not answer.is_whole), self.answers[-1])

    @property
    def slowest_answer_seconds(self) -> float:
        return max(answer.seconds for answer in self.answers)

    @property
    def was_exercised(self) -> bool:
        """Return whether the fault was played."""
        return any(request.fault for request in self.faulty_requests)


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    ok: bool
    text: str
    weight: str = REQUIRED


@dataclass(frozen=True, slots=True)
class Check:
    """One check; `inspect_evidence` returns whether it holds, and the observation in words."""

    name: str
    inspect_evidence: Callable[[Evidence], tuple[bool, str]] = field(repr=False)
    weight: str = REQUIRED

    def make_finding(self, evidence: Evidence) -> Finding:
        ok, text = self.inspect_evidence(evidence)
        return Finding(self.name, ok, text, self.weight)


# --- how often the upstream was asked -------------------------------------------------------------
def check_asked_at_most(most: int, weight: str = REQUIRED) -> Check:
    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        times = len(evidence.faulty_requests)
        return times <= most, f"the upstream was asked {format_times(times)}"

    return Check(f"asked at most {format_times(most)}", inspect_evidence, weight)


def check_asked_again(weight: str = ADVISED) -> Check:
    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        times = len(evidence.faulty_requests)
        return times >= 2, f"the upstream was asked {format_times(times)}"

    return Check("the same upstream is asked again", inspect_evidence, weight)


def check_not_hammered(most: int, seconds: Callable[[Timings], float]) -> Check:
    """Check that at most `most` requests come within the first `seconds`."""

    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        window = seconds(evidence.timings)
        moments = [request.at for request in evidence.faulty_requests]
        number = sum(moment - moments[0] < window for moment in moments)
        return number <= most, f"{format_times(number)} within {window:g} s"

    return Check("not hammered", inspect_evidence)


def check_retry_after() -> Check:
    """Check that a refused credential is not used before its Retry-After; another one may be."""

    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        usable_at: dict[str, float] = {}  # of each credential
        for request in evidence.faulty_requests:
            early = usable_at.get(request.credential, 0.0) - request.at
            if early > 0:
                return False, f"the same credential came back {early:.1f} s before its Retry-After"
            if request.retry_after_seconds is not None:
                usable_at[request.credential] = request.at + 0.9 * request.retry_after_seconds
        return True, "Retry-After was respected"

    return Check("Retry-After respected", inspect_evidence, ADVISED)


def check_not_sent_unchanged() -> Check:
    """Check that a request that is too long is sent again only in a shorter form."""

    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        sizes = [request.prompt_chars for request in evidence.faulty_requests]
        shrinks = all(later < earlier for earlier, later in pairwise(sizes))
        return shrinks, f"the upstream was asked {format_times(len(sizes))}"

    return Check("not sent again unchanged", inspect_evidence)


# --- the answer to the caller ---------------------------------------------------------------------
def check_ended_within(
    name: str, seconds: Callable[[Timings], float], weight: str = REQUIRED
) -> Check:
    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        most = seconds(evidence.timings)
        return (
            evidence.slowest_answer_seconds <= most,
            f"ended after {evidence.slowest_answer_seconds:.1f} s of {most:g} s",
        )

    return Check(name, inspect_evidence, weight)


def check_whole_answer() -> Check:
    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        number = len(evidence.deciding_answer.text.split())
        return evidence.deciding_answer.is_whole, f"{number} of {len(ANSWER_WORDS)} words"

    return Check("the whole answer", inspect_evidence, ADVISED)


def check_alive_afterwards() -> Check:
    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        answers = "answers" if evidence.is_alive else "does not answer"
        return evidence.is_alive is True, f"the gateway {answers} afterwards"

    return Check("alive afterwards", inspect_evidence)


def check_usage_reported() -> Check:
    """Check that the usage is reported, and is that of the one answer."""

    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        usage = evidence.deciding_answer.usage
        if evidence.deciding_answer.outcome != ANSWERED:
            return True, "no answer, no usage"
        completion_tokens = (usage or {}).get("completion_tokens")
        is_right = completion_tokens == len(ANSWER_WORDS)
        return is_right, f"completion_tokens is {completion_tokens}"

    return Check("usage of the answer alone", inspect_evidence, ADVISED)


def check_reason_passed_on(code: str) -> Check:
    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        answer = evidence.deciding_answer
        is_passed_on = answer.outcome != ERROR or code in f"{answer.code} {answer.error}"
        return is_passed_on, f"the caller is told {answer.code or answer.error!r}"

    return Check("the upstream's reason is passed on", inspect_evidence, ADVISED)


# --- the fallback ---------------------------------------------------------------------------------
def note_fallback_requests() -> Check:
    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        return True, f"fallback asked {format_times(len(evidence.fallback_requests))}"

    return Check("fallback", inspect_evidence, NOTED)


def check_fallback_named() -> Check:
    """Check that the answer names the model that it is from, in `model` or in a header."""

    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        if not evidence.fallback_requests or evidence.deciding_answer.outcome != ANSWERED:
            return True, "the fallback did not answer"
        names = [evidence.deciding_answer.model, *evidence.deciding_answer.named]
        if any(name.rpartition("/")[2] == evidence.fallback_model for name in names):
            return True, f"{evidence.fallback_model} is named"
        return False, f"{evidence.fallback_model} is named nowhere"

    return Check("the answering model is named", inspect_evidence)


def check_rejection_hidden() -> Check:
    """Check that the caller does not get the fallback's refusal in place of the fault.

    The fallback may refuse to go on with an answer that another model has begun.
    """

    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        refusals = sum(request.ending == "400" for request in evidence.fallback_requests)
        hides_fault = refusals > 0 and evidence.deciding_answer.outcome == ERROR
        return not hides_fault, f"the fallback refused {format_times(refusals)}"

    return Check("the fallback's refusal does not hide the fault", inspect_evidence)


# --- an outage ------------------------------------------------------------------------------------
def check_served_during_outage() -> Check:
    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        end = evidence.timings.outage_seconds
        during = [answer for answer in evidence.answers if answer.begun_at < end]
        whole = sum(answer.is_whole for answer in during)
        return whole == len(during), f"{whole} of {len(during)} answered during the outage"

    return Check("served during the outage", inspect_evidence)


def check_used_again() -> Check:
    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        end = evidence.timings.outage_seconds
        delays = [request.at - end for request in evidence.faulty_requests if not request.fault]
        if not delays:
            return False, "the upstream was not used again"
        is_soon = min(delays) <= evidence.timings.recovery_seconds
        return is_soon, f"used again {min(delays):.1f} s after the outage"

    return Check("used again after the outage", inspect_evidence)


def note_outage_attempts() -> Check:
    def inspect_evidence(evidence: Evidence) -> tuple[bool, str]:
        end = evidence.timings.outage_seconds
        attempts = sum(request.at < end for request in evidence.faulty_requests)
        requests = sum(answer.begun_at < end for answer in evidence.answers)
        return True, f"{attempts} attempts for {requests} requests during the outage"

    return Check("attempts during the outage", inspect_evidence, NOTED)


def format_times(number: int) -> str:
    return {0: "0 times", 1: "once", 2: "twice"}.get(number, f"{number} times")
