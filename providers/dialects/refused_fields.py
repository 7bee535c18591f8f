"""Learn from an upstream's refusals which fields of a body it does not take. No I/O.

A refusal that names a field of FALLBACK_FIELDS is remembered for the model, and the request is sent
once more without the field or with its other name. Only fields that tune or describe a request are
learnt, never those that say what is asked for. What was learnt lasts as long as the adapter: until
the provider's row changes or the process ends.
"""

import re

from providers.exceptions import Rejected
from providers.protocol.json_types import JsonObject

# field -> the other name of the same thing; empty: the request does without
FALLBACK_FIELDS = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
} | dict.fromkeys(
    """
    stream_options parallel_tool_calls web_search_options store metadata user service_tier
    reasoning_effort verbosity temperature top_p top_k min_p presence_penalty frequency_penalty
    repetition_penalty seed prediction prompt_cache_key prompt_cache_retention safety_identifier
    """.split(),
    "",
)
REFUSAL_CODES = frozenset(("unsupported_parameter", "unknown_parameter", "unsupported_value"))
# the words in which services refuse a field (OpenAI, Anthropic, Gemini, Groq, Mistral, and others)
REFUSAL_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?:unsupported|unknown|unrecognized|unexpected) (?:parameter|field|name|value|argument|"
        r"request argument)s?(?: supplied)?:? ?[`'\"]?(\w+)",
        r"[`'\"](\w+)[`'\"]\W+(?:is|are) (?:not supported|unsupported|not permitted|not allowed)",
        r"[`'\"]?(\w+)[`'\"]? (?:is|are) (?:not supported|deprecated) (?:with|by|for|in) "
        r"th(?:is|e) model",
        r"loc[`'\"]\s*:\s*[\[(][`'\"]body[`'\"],\s*[`'\"](\w+)",
    )
)


class RefusedFields:
    """The fields that one provider's models have refused, with their other names."""

    def __init__(self) -> None:
        self.by_model: dict[str, dict[str, str]] = {}

    def learn_refusal(self, model_name: str, body: JsonObject, error: Rejected) -> str:
        """Remember the field that a refusal names, and return it.

        `body` is what would be sent now. Empty when the refusal names no field, or when nothing can
        be done about it. Another request may have learnt it meanwhile. Writes to this object.
        """
        name = find_refused_field(error)
        known = self.by_model.get(model_name, {})
        if name in known and name not in body:
            return name
        # an upstream that refuses both names of a limit is told no third time
        if name not in FALLBACK_FIELDS or name not in body or name in known.values():
            return ""
        self.by_model[model_name] = known | {name: FALLBACK_FIELDS[name]}
        return name

    def find_other_name(self, model_name: str, name: str) -> str:
        """Return the other name that a learnt field has now; empty when it is left out."""
        return self.by_model[model_name][name]

    def rewrite_body(self, model_name: str, body: JsonObject) -> None:
        """Leave out or rename, in place, the fields of a body that the model has refused."""
        for name, other_name in self.by_model.get(model_name, {}).items():
            value = body.pop(name, None)
            if other_name and value is not None:
                body.setdefault(other_name, value)


def find_refused_field(error: Rejected) -> str:
    """Return the field of the body that an upstream refused; empty when it names none."""
    if error.param and error.shown_code in REFUSAL_CODES:
        return error.param.split(".")[0]
    for pattern in REFUSAL_PATTERNS:
        if match := pattern.search(error.message):
            return match[1]
    return ""
