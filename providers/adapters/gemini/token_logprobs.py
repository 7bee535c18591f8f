"""Turn Gemini's log probabilities into OpenAI's. No I/O.

Source: Gemini's API reference, "LogprobsResult".
"""

from itertools import zip_longest

from providers.protocol.json_types import JsonObject
from providers.wire.data_urls import as_text


def convert_logprobs(result: object) -> JsonObject | None:
    """Return the `logprobs` of a choice, None where the answer has none."""
    if not isinstance(result, dict) or not isinstance(result.get("chosenCandidates"), list):
        return None
    steps = zip_longest(result["chosenCandidates"], result.get("topCandidates") or ())
    entries = [
        convert_candidate(chosen) | {"top_logprobs": list_alternatives(top)}
        for chosen, top in steps
        if isinstance(chosen, dict)
    ]
    return {"content": entries, "refusal": None}


def list_alternatives(step: object) -> list[JsonObject]:
    """Return the most likely tokens at one place."""
    candidates = step.get("candidates") if isinstance(step, dict) else None
    if not isinstance(candidates, list):
        return []
    return [convert_candidate(entry) for entry in candidates if isinstance(entry, dict)]


def convert_candidate(candidate: JsonObject) -> JsonObject:
    """Return one token with its log probability and its bytes."""
    token = as_text(candidate.get("token"))
    raw = list(token.encode("utf-8", "surrogatepass"))
    return {"token": token, "logprob": candidate.get("logProbability", 0.0), "bytes": raw}
