"""Read the units of an answer: its tokens, images, seconds or search units. No I/O.

Sources: OpenAI's API reference (`usage` of images and transcriptions: `input_tokens`,
`output_tokens`, or `{"type": "duration", "seconds": …}`; `duration` of verbose_json); Cohere's
(`meta.billed_units.search_units`); Jina's and vLLM's (`usage.total_tokens`).
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from providers.protocol.billed_units import BilledUnits
from providers.protocol.json_types import JsonObject
from providers.protocol.relayed_request import AUDIO_ENDPOINTS, IMAGE_ENDPOINTS, RERANK
from providers.protocol.usage_meter import parse_count

LONGEST_AUDIO_SECONDS = 10**7  # a larger figure is no length of a recording


class AnswerFacts(Struct):
    """The fields of an answer about its cost; all others are skipped, not decoded."""

    usage: Any = None
    error: Any = None
    duration: Any = None
    meta: Any = None
    data: list[Raw] | Any = None


def read_answer_facts(data: bytes) -> AnswerFacts | None:
    """Return the facts of a JSON object; None when the data is none."""
    try:
        return msgspec.json.decode(data, type=AnswerFacts)
    except (msgspec.DecodeError, RecursionError):
        return None


def read_token_usage(facts: AnswerFacts) -> JsonObject | None:
    """Return the reported tokens in the form of a chat completion's usage; None without any.

    Other fields of the usage are kept: some upstreams report the cost there.
    """
    usage = facts.usage
    if not isinstance(usage, dict):
        return read_billed_tokens(facts.meta)
    prompt = parse_count(usage.get("input_tokens", usage.get("prompt_tokens")))
    completion = parse_count(usage.get("output_tokens", usage.get("completion_tokens", 0)))
    if prompt is None:
        prompt = parse_count(usage.get("total_tokens"))
        completion = 0
    if prompt is None:
        return {**usage, "prompt_tokens": 0, "completion_tokens": 0}
    return {**usage, "prompt_tokens": prompt, "completion_tokens": completion or 0}


def read_billed_tokens(meta: object) -> JsonObject | None:
    """Return the tokens of Cohere's `meta`; None when there are neither tokens nor other units."""
    units = find_billed_units(meta)
    if units is None:
        return None
    return {
        "prompt_tokens": parse_count(units.get("input_tokens")) or 0,
        "completion_tokens": parse_count(units.get("output_tokens")) or 0,
    }


def find_billed_units(meta: object) -> JsonObject | None:
    """Return `meta.billed_units`, or None."""
    units = meta.get("billed_units") if isinstance(meta, dict) else None
    return units if isinstance(units, dict) else None


def count_units(facts: AnswerFacts, endpoint: str, requested: BilledUnits) -> BilledUnits:
    """Return the units of an answer; where it does not say, those that were requested."""
    if endpoint in IMAGE_ENDPOINTS and isinstance(facts.data, list):
        return structs.replace(requested, images=len(facts.data))
    if endpoint in AUDIO_ENDPOINTS and (seconds := read_seconds(facts)):
        return structs.replace(requested, audio_seconds=seconds, lacks_seconds=False)
    billed = find_billed_units(facts.meta) or {}
    if endpoint == RERANK and (searches := parse_count(billed.get("search_units"))):
        return structs.replace(requested, search_units=searches)
    return requested


def read_seconds(facts: AnswerFacts) -> float:
    """Return the seconds of audio that an answer names; 0 when it names none."""
    seconds = facts.usage.get("seconds") if isinstance(facts.usage, dict) else None
    if seconds is None:
        seconds = facts.duration
    if isinstance(seconds, str):  # older versions of whisper servers write a text
        try:
            seconds = float(seconds)
        except ValueError:
            return 0.0
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return 0.0
    return float(seconds) if 0 < seconds <= LONGEST_AUDIO_SECONDS else 0.0
