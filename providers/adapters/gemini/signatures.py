"""The signatures of Gemini's thoughts, where chat messages carry them. No I/O.

Gemini signs parts of its answers, and wants the signatures back with the parts. On a call it
travels as Google's own OpenAI endpoint has it (`extra_content.google.thought_signature`), on a text
as an entry of `reasoning_details` of the format "google-gemini-v1". From Gemini 3 on, a call of
the running turn without its signature is refused; for calls that another model made there is a
placeholder. Source: Gemini's API documentation, "Thought signatures" and "OpenAI compatibility";
OpenRouter's documentation, "Reasoning tokens".
"""

from providers.protocol.json_types import JsonObject
from providers.wire.data_urls import as_text

FORMAT = "google-gemini-v1"
UNSIGNED = "skip_thought_signature_validator"


def build_call_extras(signature: str) -> JsonObject:
    """Return the further field of a tool call that carries its signature."""
    return {"extra_content": {"google": {"thought_signature": signature}}}


def build_text_detail(signature: str, index: int) -> JsonObject:
    """Return the entry of `reasoning_details` that carries the signature of a text."""
    return {"type": "reasoning.encrypted", "data": signature, "format": FORMAT, "index": index}


def read_call_signature(call: JsonObject) -> str:
    """Return the signature that a tool call carries, empty without one."""
    extras = call.get("extra_content")
    google = extras.get("google") if isinstance(extras, dict) else None
    if isinstance(google, dict):
        return as_text(google.get("thought_signature"))
    return as_text(call.get("thought_signature"))


def read_detail_signatures(message: JsonObject) -> dict[str, str]:
    """Return the signatures among a message's `reasoning_details`, by the id of their call.

    The signature of the text has an empty id.
    """
    details = message.get("reasoning_details")
    if not isinstance(details, list):
        return {}
    return {
        as_text(detail.get("id")): detail["data"]
        for detail in details
        if isinstance(detail, dict)
        and detail.get("format") == FORMAT
        and as_text(detail.get("data"))
    }
