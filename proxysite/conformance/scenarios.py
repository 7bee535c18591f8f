"""The sixteen faults, and the checks that a gateway must pass in each."""

from dataclasses import dataclass

from proxysite.conformance.evidence_checks import (
    ADVISED,
    Check,
    alive_afterwards,
    asked_again,
    asked_at_most,
    ended_within,
    fallback_named,
    fallback_noted,
    not_hammered,
    not_sent_unchanged,
    probes_noted,
    reason_passed_on,
    rejection_not_passed_on,
    served_during_outage,
    usage_reported,
    used_again,
    waited_as_told,
    whole_answer,
)

HEALTHY = "fb-ok"
HEALTHY_WITHOUT_PREFILL = "fb-ok-noprefill"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault: its texts for the report, and its checks.

    `lasts` names the timing that the fault itself takes, "" where it takes none. With `wants_error`
    the right outcome is a clear error. With `asks_alive` a healthy request follows.
    """

    id: str
    title: str
    fault: str
    conduct: str
    checks: tuple[Check, ...]
    lasts: str = ""
    fallback: str = HEALTHY
    wants_error: bool = False
    asks_alive: bool = False
    is_outage: bool = False

    @property
    def model(self) -> str:
        return f"fb-{self.id.lower()}"


SCENARIOS = (
    Scenario(
        "S01",
        "429 with Retry-After",
        "The first request gets a 429 with Retry-After; the next is answered.",
        "Wait as told, or ask with another credential or elsewhere; no loop.",
        (waited_as_told(), not_hammered(2, lambda t: 0.75 * t.retry_after_seconds)),
    ),
    Scenario(
        "S02",
        "429 for ever",
        "Every request gets a 429 without Retry-After.",
        "Ask elsewhere after few attempts.",
        (not_hammered(4, lambda t: 3.0), asked_at_most(6)),
    ),
    Scenario(
        "S03",
        "500, then healthy",
        "The first request gets a 500; the next is answered.",
        "Ask the same upstream once more.",
        (asked_again(),),
    ),
    Scenario(
        "S04",
        "503 for ever",
        "Every request gets a 503.",
        "Ask elsewhere after few attempts.",
        (asked_at_most(6),),
    ),
    Scenario(
        "S05",
        "Connection reset",
        "The first request's connection is reset before the answer; the next is answered.",
        "Ask again or elsewhere.",
        (),
    ),
    Scenario(
        "S06",
        "No answer",
        "The request is taken and never answered.",
        "Give up after a bounded time and ask elsewhere, not the silent upstream again.",
        (
            ended_within("bounded", lambda t: 5 / 6 * t.silence_seconds),
            asked_at_most(1, ADVISED),
        ),
        lasts="silence_seconds",
    ),
    Scenario(
        "S07",
        "Slow first word",
        "The head comes at once, the first word late.",
        "Answer; better, ask elsewhere before the word comes.",
        (ended_within("first word bounded", lambda t: 0.75 * t.slow_start_seconds, ADVISED),),
        lasts="slow_start_seconds",
    ),
    Scenario(
        "S08",
        "Stream cut",
        "The connection ends after 40 of 60 words.",
        "Give the whole answer or a clear error, never the part as if it were the whole.",
        (),
    ),
    Scenario(
        "S09",
        "Stream stalls",
        "After 20 words the stream is silent, then the connection ends.",
        "Notice it in a bounded time; go on elsewhere or fail clearly; answer the next request.",
        (ended_within("bounded", lambda t: 1.5 * t.stall_seconds), alive_afterwards()),
        lasts="stall_seconds",
        asks_alive=True,
    ),
    Scenario(
        "S10",
        "Malformed event",
        "One event of the stream is no JSON; the others are right.",
        "Leave it out, or fail clearly; answer the next request.",
        (alive_afterwards(), whole_answer()),
        asks_alive=True,
    ),
    Scenario(
        "S11",
        "No [DONE]",
        "The stream is complete and ends properly, without [DONE].",
        "End the answer at once, with its usage.",
        (ended_within("prompt", lambda t: 8.0), usage_reported()),
    ),
    Scenario(
        "S12",
        "Context too long",
        "Every request gets a 400 context_length_exceeded.",
        "Do not send the same again; ask a model with a larger window, or fail clearly.",
        (not_sent_unchanged(), asked_at_most(2)),
    ),
    Scenario(
        "S13",
        "Content refused",
        "Every request gets a 400 content_policy_violation.",
        "Do not ask again; pass the reason on.",
        (asked_at_most(1), reason_passed_on("content_policy_violation"), fallback_noted()),
        wants_error=True,
    ),
    Scenario(
        "S14",
        "Fallback takes no prefill",
        "The connection ends after 40 words, and the fallback refuses to go on with them.",
        "As S08; the fallback's refusal is not what the caller gets.",
        (rejection_not_passed_on(),),
        fallback=HEALTHY_WITHOUT_PREFILL,
    ),
    Scenario(
        "S15",
        "Outage and recovery",
        "Every request gets a 503 for a time, then all are answered.",
        "Answer from the fallback meanwhile; use the upstream again soon afterwards.",
        (served_during_outage(), used_again(), probes_noted()),
        is_outage=True,
    ),
    Scenario(
        "S16",
        "Whose answer it is",
        "Every request gets a 503; the fallback answers.",
        "Name the model that answered; count its answer alone.",
        (fallback_named(), usage_reported(), asked_at_most(6)),
    ),
)
