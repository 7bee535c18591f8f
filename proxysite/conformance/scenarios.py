"""The sixteen faults, and the checks that a gateway must pass in each."""

from dataclasses import dataclass

from proxysite.conformance.evidence_checks import (
    ADVISED,
    Check,
    check_alive_afterwards,
    check_asked_again,
    check_asked_at_most,
    check_ended_within,
    check_fallback_named,
    check_not_hammered,
    check_not_sent_unchanged,
    check_reason_passed_on,
    check_rejection_hidden,
    check_retry_after,
    check_served_during_outage,
    check_usage_reported,
    check_used_again,
    check_whole_answer,
    note_fallback_requests,
    note_outage_attempts,
)

HEALTHY_MODEL = "fb-ok"
HEALTHY_MODEL_WITHOUT_PREFILL = "fb-ok-noprefill"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault: its texts for the report, and its checks.

    `fault_timing` names the timing that the fault itself takes, "" where it takes none. With
    `wants_error` the right outcome is a clear error. With `wants_alive_check` a healthy request
    follows.
    """

    id: str
    title: str
    fault: str
    conduct: str
    checks: tuple[Check, ...]
    fault_timing: str = ""
    fallback_model: str = HEALTHY_MODEL
    wants_error: bool = False
    wants_alive_check: bool = False
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
        (check_retry_after(), check_not_hammered(2, lambda t: 0.75 * t.retry_after_seconds)),
    ),
    Scenario(
        "S02",
        "429 for ever",
        "Every request gets a 429 without Retry-After.",
        "Ask elsewhere after few attempts.",
        (check_not_hammered(4, lambda t: 3.0), check_asked_at_most(6)),
    ),
    Scenario(
        "S03",
        "500, then healthy",
        "The first request gets a 500; the next is answered.",
        "Ask the same upstream once more.",
        (check_asked_again(),),
    ),
    Scenario(
        "S04",
        "503 for ever",
        "Every request gets a 503.",
        "Ask elsewhere after few attempts.",
        (check_asked_at_most(6),),
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
            check_ended_within("bounded", lambda t: 5 / 6 * t.silence_seconds),
            check_asked_at_most(1, ADVISED),
        ),
        fault_timing="silence_seconds",
    ),
    Scenario(
        "S07",
        "Slow first word",
        "The head comes at once, the first word late.",
        "Answer; better, ask elsewhere before the word comes.",
        (check_ended_within("first word bounded", lambda t: 0.75 * t.slow_start_seconds, ADVISED),),
        fault_timing="slow_start_seconds",
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
        (check_ended_within("bounded", lambda t: 1.5 * t.stall_seconds), check_alive_afterwards()),
        fault_timing="stall_seconds",
        wants_alive_check=True,
    ),
    Scenario(
        "S10",
        "Malformed event",
        "One event of the stream is no JSON; the others are right.",
        "Leave it out, or fail clearly; answer the next request.",
        (check_alive_afterwards(), check_whole_answer()),
        wants_alive_check=True,
    ),
    Scenario(
        "S11",
        "No [DONE]",
        "The stream is complete and ends properly, without [DONE].",
        "End the answer at once, with its usage.",
        (check_ended_within("prompt", lambda t: 8.0), check_usage_reported()),
    ),
    Scenario(
        "S12",
        "Context too long",
        "Every request gets a 400 context_length_exceeded.",
        "Do not send the same again; ask a model with a larger window, or fail clearly.",
        (check_not_sent_unchanged(), check_asked_at_most(2)),
    ),
    Scenario(
        "S13",
        "Content refused",
        "Every request gets a 400 content_policy_violation.",
        "Do not ask again; pass the reason on.",
        (
            check_asked_at_most(1),
            check_reason_passed_on("content_policy_violation"),
            note_fallback_requests(),
        ),
        wants_error=True,
    ),
    Scenario(
        "S14",
        "Fallback takes no prefill",
        "The connection ends after 40 words, and the fallback refuses to go on with them.",
        "As S08; the fallback's refusal is not what the caller gets.",
        (check_rejection_hidden(),),
        fallback_model=HEALTHY_MODEL_WITHOUT_PREFILL,
    ),
    Scenario(
        "S15",
        "Outage and recovery",
        "Every request gets a 503 for a time, then all are answered.",
        "Answer from the fallback meanwhile; use the upstream again soon afterwards.",
        (check_served_during_outage(), check_used_again(), note_outage_attempts()),
        is_outage=True,
    ),
    Scenario(
        "S16",
        "Whose answer it is",
        "Every request gets a 503; the fallback answers.",
        "Name the model that answered; count its answer alone.",
        (check_fallback_named(), check_usage_reported(), check_asked_at_most(6)),
    ),
)
