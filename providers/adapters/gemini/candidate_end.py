"""Read why a candidate of Gemini's ended, and why a prompt was blocked. No I/O.

Source: Gemini's API reference, "FinishReason" and "PromptFeedback".
"""

from providers.exceptions import Rejected, ServerFailed
from providers.protocol.json_types import JsonObject
from providers.wire.data_urls import as_text

FINISH_REASONS = {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length"}
FILTER_REASONS = frozenset(
    """
    SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY
    IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION ESCALATION MODEL_ARMOR PUP_LIMITED_DISABLED
    """.split()
)
# the model failed: what came is not a whole answer, and asking again may help
FAILURE_REASONS = frozenset(
    """
    MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MALFORMED_RESPONSE NO_IMAGE
    IMAGE_OTHER
    """.split()
)


def choose_finish_reason(candidate: JsonObject, *, has_content: bool, has_calls: bool) -> str:
    """Return OpenAI's reason for the end of a candidate.

    Raises ServerFailed when it cannot be used, Rejected when a signature is missing.
    """
    reason = as_text(candidate.get("finishReason"))
    if reason == "MISSING_THOUGHT_SIGNATURE":
        raise Rejected(
            "A tool call of an earlier answer came back without its thought signature.",
            param="messages",
        )
    is_unusable = reason == "OTHER" and not has_content
    if reason in FAILURE_REASONS or is_unusable:
        explanation = as_text(candidate.get("finishMessage"))[:200]
        raise ServerFailed(
            f"The upstream did not finish its answer: {reason}. {explanation}".strip()
        )
    if reason in FILTER_REASONS:
        return "content_filter"
    if has_calls and reason not in ("MAX_TOKENS", "CONTINUATION"):
        return "tool_calls"
    return FINISH_REASONS.get(reason, "stop")


def explain_block(feedback: JsonObject) -> str:
    """Return the refusal of a prompt that was blocked."""
    message = as_text(feedback.get("blockReasonMessage"))
    reason = as_text(feedback.get("blockReason"))
    return message or f"The upstream blocked the prompt: {reason}."
