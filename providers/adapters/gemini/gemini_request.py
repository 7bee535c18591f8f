"""Turn a chat body into the body of `generateContent`. No I/O."""

import re

from providers.adapters.gemini.contents import ContentsBuilder
from providers.adapters.gemini.offered_functions import build_tools
from providers.adapters.gemini.thinking_family import build_thinking_config, find_thinking_family
from providers.exceptions import Rejected
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.request import ChatRequest, UpstreamModel

# field of a chat body -> field of `generationConfig`
CONFIG_FIELDS = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
NO_PENALTY_FIELDS = ("presence_penalty", "frequency_penalty")  # models refuse even a 0
# fields of a chat body that have a counterpart, or that this gateway serves itself
SERVED_FIELDS = CONFIG_FIELDS.keys() | frozenset(
    """
    model messages stream stream_options max_tokens max_completion_tokens stop tools tool_choice
    functions function_call response_format reasoning_effort thinking modalities web_search_options
    safety_settings cached_content google
    """.split()
)
# fields that ask for another kind of answer, which Gemini cannot give
REFUSED_FIELDS = ("logit_bias", "audio")
MODALITIES = {"text": "TEXT", "image": "IMAGE", "audio": "AUDIO"}
SNAKE_STEP = re.compile(r"_([a-z])")


def build_generate_body(
    request: ChatRequest, body: FrozenJsonObject, model: UpstreamModel
) -> JsonObject:
    """Return the body of `generateContent`. Raises Rejected for what Gemini cannot take or do.

    `body` is the request's, with files and tools as the model's row wants them.
    """
    for name in REFUSED_FIELDS:
        if body.get(name):
            raise Rejected(
                f"Gemini has nothing like {name!r}.", param=name, code="unsupported_parameter"
            )
    family = find_thinking_family(model)
    builder = ContentsBuilder(signs_calls=family.signs_calls, takes_result_parts=family.signs_calls)
    builder.add_messages(body["messages"])
    generate_body: JsonObject = {"contents": builder.contents}
    if builder.system_parts:
        generate_body["systemInstruction"] = {"parts": builder.system_parts}
    generate_body |= build_tools(body, searches=wants_search(request, body, model))
    if config := build_generation_config(body, model):
        generate_body["generationConfig"] = config
    google = read_google_fields(body)
    safety = body.get("safety_settings") or google.get("safety_settings")
    if safety or (safety := model.options.get("safety_settings")):
        generate_body["safetySettings"] = safety
    if cached := body.get("cached_content") or google.get("cached_content"):
        generate_body["cachedContent"] = cached
    return generate_body


def wants_search(request: ChatRequest, body: FrozenJsonObject, model: UpstreamModel) -> bool:
    """Return whether the model may search the web.

    A search that only the row or the alias switches on gives way to functions, because most models
    refuse both together.
    """
    if request.wants_search or body.get("web_search_options") is not None:
        return model.search != "off"
    return model.search == "on" and not (body.get("tools") or body.get("functions"))


def build_generation_config(body: FrozenJsonObject, model: UpstreamModel) -> JsonObject:
    """Return the `generationConfig` of a chat body."""
    config = {
        target: body[name] for name, target in CONFIG_FIELDS.items() if body.get(name) is not None
    }
    for name in NO_PENALTY_FIELDS:
        if body.get(name) == 0:
            del config[CONFIG_FIELDS[name]]
    limits = [body.get(name) for name in ("max_tokens", "max_completion_tokens")]
    numbers = [limit for limit in limits if limit is not None]
    if numbers:
        config["maxOutputTokens"] = min(numbers)
    if stop := body.get("stop"):
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
    config |= build_response_format(body)
    if modalities := body.get("modalities"):
        config["responseModalities"] = [MODALITIES.get(name, name) for name in modalities]
    thinking = build_thinking_config(body, model)
    thinking |= convert_to_camel(read_google_fields(body).get("thinking_config"))
    if thinking:
        config["thinkingConfig"] = thinking
    return config


def build_response_format(body: FrozenJsonObject) -> JsonObject:
    """Return the fields of `generationConfig` that ask for JSON."""
    response_format = body.get("response_format") or {}
    kind = response_format.get("type")
    if kind not in ("json_object", "json_schema"):
        return {}
    fields: JsonObject = {"responseMimeType": "application/json"}
    schema = (response_format.get("json_schema") or {}).get("schema")
    if kind == "json_schema" and schema:
        fields["responseJsonSchema"] = schema
    return fields


def read_google_fields(body: FrozenJsonObject) -> JsonObject:
    """Return the fields for Gemini alone, which its OpenAI endpoint takes as `google`, too."""
    google = body.get("google")
    return google if isinstance(google, dict) else {}


def convert_to_camel(fields: object) -> JsonObject:
    """Return an object with its snake_case names as Gemini writes them."""
    if not isinstance(fields, dict):
        return {}
    return {
        SNAKE_STEP.sub(lambda match: match[1].upper(), name): value
        for name, value in fields.items()
    }


def find_unserved_fields(body: FrozenJsonObject, model: UpstreamModel) -> list[str]:
    """Return the fields of the caller's body that have no counterpart, sorted."""
    served = SERVED_FIELDS
    if not find_thinking_family(model).thinks:
        served = served - {"reasoning_effort", "thinking"}
    return sorted(name for name in body.keys() - served if body[name] is not None)
