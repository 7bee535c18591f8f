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
from proxysite.conformance.dialogue import WORDS
from proxysite.conformance.exchange import Asked
from proxysite.conformance.timings import Timings

REQUIRED = "required"
ADVISED = "advised"
NOTED = "noted"


@dataclass(slots=True)
class Evidence:
    """The requests and answers of one scenario, as caller and upstream saw them.

    `first` are the requests to the faulty model, `fallback` those to the fallback model. `is_alive`
    says whether a healthy request afterwards was answered; None when there was no such request.
    """

    timings: Timings
    fallback_model: str
    answers: Sequence[Answer]
    first: Sequence[Asked] = ()
    fallback: Sequence[Asked] = ()
    is_alive: bool | None = None  # whether a healthy request afterwards was answered

    @property
    def answer(self) -> Answer:
        """Return the first answer that is not whole, else the last answer."""
        return next((one for one in self.answers if not one.is_whole), self.answers[-1])

    @property
    def seconds(self) -> float:
        return max(one.seconds for one in self.answers)

    @property
    def was_exercised(self) -> bool:
        """Return whether the fault was played."""
        return any(one.fault for one in self.first)


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    ok: bool
    text: str
    weight: str = REQUIRED


@dataclass(frozen=True, slots=True)
class Check:
    """One check; `test` returns whether it holds, and the observation in words."""

    name: str
    test: Callable[[Evidence], tuple[bool, str]] = field(repr=False)
    weight: str = REQUIRED

    def find(self, evidence: Evidence) -> Finding:
        ok, text = self.test(evidence)
        return Finding(self.name, ok, text, self.weight)


# --- how often the upstream was asked -------------------------------------------------------------
def asked_at_most(most: int, weight: str = REQUIRED) -> Check:
    def test(evidence: Evidence) -> tuple[bool, str]:
        return len(evidence.first) <= most, f"the upstream was asked {times(len(evidence.first))}"

    return Check(f"asked at most {times(most)}", test, weight)


def asked_again(weight: str = ADVISED) -> Check:
    def test(evidence: Evidence) -> tuple[bool, str]:
        return len(evidence.first) >= 2, f"the upstream was asked {times(len(evidence.first))}"

    return Check("the same upstream is asked again", test, weight)


def not_hammered(most: int, seconds: Callable[[Timings], float]) -> Check:
    """Check that at most `most` requests come within the first `seconds`."""

    def test(evidence: Evidence) -> tuple[bool, str]:
        window = seconds(evidence.timings)
        start = evidence.first[0].at if evidence.first else 0.0
        number = sum(one.at - start < window for one in evidence.first)
        return number <= most, f"{times(number)} within {window:g} s"

    return Check("not hammered", test)


def waited_as_told() -> Check:
    """Check that a refused credential is not used before its Retry-After; another one may be."""

    def test(evidence: Evidence) -> tuple[bool, str]:
        until: dict[str, float] = {}
        for one in evidence.first:
            early = until.get(one.credential, 0.0) - one.at
            if early > 0:
                return False, f"the same credential came back {early:.1f} s before its Retry-After"
            if one.retry_after_seconds is not None:
                until[one.credential] = one.at + 0.9 * one.retry_after_seconds
        return True, "Retry-After was respected"

    return Check("Retry-After respected", test, ADVISED)


def not_sent_unchanged() -> Check:
    """Check that a request that is too long is sent again only in a shorter form."""

    def test(evidence: Evidence) -> tuple[bool, str]:
        sizes = [one.prompt_chars for one in evidence.first]
        shrinks = all(later < earlier for earlier, later in pairwise(sizes))
        return shrinks, f"the upstream was asked {times(len(sizes))}"

    return Check("not sent again unchanged", test)


# --- the answer to the caller ---------------------------------------------------------------------
def ended_within(name: str, seconds: Callable[[Timings], float], weight: str = REQUIRED) -> Check:
    def test(evidence: Evidence) -> tuple[bool, str]:
        most = seconds(evidence.timings)
        return evidence.seconds <= most, f"ended after {evidence.seconds:.1f} s of {most:g} s"

    return Check(name, test, weight)


def whole_answer() -> Check:
    def test(evidence: Evidence) -> tuple[bool, str]:
        number = len(evidence.answer.text.split())
        return evidence.answer.is_whole, f"{number} of {len(WORDS)} words"

    return Check("the whole answer", test, ADVISED)


def alive_afterwards() -> Check:
    def test(evidence: Evidence) -> tuple[bool, str]:
        answers = "answers" if evidence.is_alive else "does not answer"
        return evidence.is_alive is True, f"the gateway {answers} afterwards"

    return Check("alive afterwards", test)


def usage_reported() -> Check:
    """Check that the usage is reported, and is that of the one answer."""

    def test(evidence: Evidence) -> tuple[bool, str]:
        usage = evidence.answer.usage
        if evidence.answer.outcome != ANSWERED:
            return True, "no answer, no usage"
        counted = (usage or {}).get("completion_tokens")
        return counted == len(WORDS), f"completion_tokens is {counted}"

    return Check("usage of the answer alone", test, ADVISED)


def reason_passed_on(code: str) -> Check:
    def test(evidence: Evidence) -> tuple[bool, str]:
        answer = evidence.answer
        told = answer.outcome != ERROR or code in f"{answer.code} {answer.error}"
        return told, f"the caller is told {answer.code or answer.error!r}"

    return Check("the upstream's reason is passed on", test, ADVISED)


# --- the fallback ---------------------------------------------------------------------------------
def fallback_noted() -> Check:
    def test(evidence: Evidence) -> tuple[bool, str]:
        return True, f"fallback asked {times(len(evidence.fallback))}"

    return Check("fallback", test, NOTED)


def fallback_named() -> Check:
    """Check that the answer names the model that it is from, in `model` or in a header."""

    def test(evidence: Evidence) -> tuple[bool, str]:
        if not evidence.fallback or evidence.answer.outcome != ANSWERED:
            return True, "the fallback did not answer"
        names = [evidence.answer.model, *evidence.answer.named]
        told = any(name.rpartition("/")[2] == evidence.fallback_model for name in names)
        return told, f"{evidence.fallback_model} is {'named' if told else 'named nowhere'}"

    return Check("the answering model is named", test)


def rejection_not_passed_on() -> Check:
    """Check that the caller does not get the fallback's refusal in place of the fault.

    The fallback may refuse to go on with an answer that another model has begun.
    """

    def test(evidence: Evidence) -> tuple[bool, str]:
        refused = sum(one.ending == "400" for one in evidence.fallback)
        hidden = refused > 0 and evidence.answer.outcome == ERROR
        return not hidden, f"the fallback refused {times(refused)}"

    return Check("the fallback's refusal does not hide the fault", test)


# --- an outage ------------------------------------------------------------------------------------
def served_during_outage() -> Check:
    def test(evidence: Evidence) -> tuple[bool, str]:
        lasted = evidence.timings.outage_seconds
        during = [one for one in evidence.answers if one.begun_at < lasted]
        whole = sum(one.is_whole for one in during)
        return whole == len(during), f"{whole} of {len(during)} answered during the outage"

    return Check("served during the outage", test)


def used_again() -> Check:
    def test(evidence: Evidence) -> tuple[bool, str]:
        over = evidence.timings.outage_seconds
        answered = [one.at - over for one in evidence.first if not one.fault]
        if not answered:
            return False, "the upstream was not used again"
        soon = min(answered) <= evidence.timings.recovery_seconds
        return soon, f"used again {min(answered):.1f} s after the outage"

    return Check("used again after the outage", test)


def probes_noted() -> Check:
    def test(evidence: Evidence) -> tuple[bool, str]:
        over = evidence.timings.outage_seconds
        asked = sum(one.at < over for one in evidence.first)
        during = sum(one.begun_at < over for one in evidence.answers)
        return True, f"{asked} attempts for {during} requests during the outage"

    return Check("attempts during the outage", test, NOTED)


def times(number: int) -> str:
    return {0: "0 times", 1: "once", 2: "twice"}.get(number, f"{number} times")
