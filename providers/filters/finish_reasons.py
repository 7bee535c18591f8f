"""Finish reasons of upstreams, as those of OpenAI. No I/O."""

from providers.exceptions import ServerFailed
from providers.protocol.json_types import FrozenJsonObject

FINISH_REASONS = frozenset(("stop", "length", "tool_calls", "content_filter", "function_call"))
CALL_REASONS = ("tool_calls", "function_call")
# of OpenRouter, vLLM, DeepSeek, Z.ai and Gemini: the answer was cut, or cannot be used
CUT_REASONS = frozenset(
    """
    error abort aborted cancelled canceled timeout network_error insufficient_system_resource
    malformed_function_call
    """.split()
)
# of Gemini, Anthropic, Mistral, Z.ai, Bedrock, Cohere and others
REASON_TRANSLATIONS = {
    "max_length": "length",
    "token_limit": "length",
    "context_length_exceeded": "length",
    "context_window_exceeded": "length",
    "model_context_window_exceeded": "length",
    "function_calls": "tool_calls",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
    "spii": "content_filter",
    "recitation": "content_filter",
    "language": "content_filter",
    "image_safety": "content_filter",
    "image_prohibited_content": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "error_toxic": "content_filter",
    "max_tokens": "length",
    "model_length": "length",
    "max_output_tokens": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "safety": "content_filter",
    "refusal": "content_filter",
    "sensitive": "content_filter",
}


def normalize_finish_reason(value: object) -> str | None:
    """Return a reason of OpenAI's enum, or None if there is none or the answer was cut.

    Unknown ones (`eos`, `end_turn`, `stop_sequence` …) mean that the model stopped by itself.
    """
    if not isinstance(value, str) or not value:
        return None
    if value in FINISH_REASONS:
        return value
    value = value.lower()
    if value in CUT_REASONS:
        return None
    if value in FINISH_REASONS:
        return value
    return REASON_TRANSLATIONS.get(value, "stop")


def normalize_final_reason(reason: object) -> str:
    """Return the finish reason of a whole answer, "stop" if it has none.

    Raises ServerFailed if the reason says that the answer was cut.
    """
    if isinstance(reason, str) and reason.lower() in CUT_REASONS:
        raise ServerFailed("The upstream did not finish its answer.")
    return normalize_finish_reason(reason) or "stop"


def is_call_forced(body: FrozenJsonObject) -> bool:
    """Return whether a request names the one function that must be called.

    OpenAI itself ends the answer to such a request with "stop".
    """
    choice = body.get("tool_choice") or body.get("function_call")
    return isinstance(choice, dict) and choice.get("type") != "allowed_tools"


def choose_call_reason(reason: str | None, call_reason: str, *, allows_stop: bool) -> str | None:
    """Return the finish reason of an answer whose calls need `call_reason`, empty without calls.

    A reason that names calls becomes "stop" if there are none; "stop" names the calls that there
    are unless it `allows_stop`.
    """
    if not call_reason:
        return "stop" if reason in CALL_REASONS else reason
    if reason == "stop" and not allows_stop:
        return call_reason
    return reason
