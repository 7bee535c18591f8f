"""Write a chat body as the body of a Messages request. No I/O.

Source: Anthropic's API reference, "Messages". A field that asks for something Anthropic does not
have is refused; fields that only tune the answer are left out where the model does not take them,
and listed (`find_left_out`).
"""

from typing import Any

from providers.adapters.anthropic import chat_messages, thinking_wish, tool_fields
from providers.adapters.anthropic.cache_marks import add_cache_marks
from providers.adapters.anthropic.model_families import ModelFamily, find_family
from providers.adapters.anthropic.output_schema import close_schema
from providers.choices import Search, Thinking
from providers.exceptions import Rejected
from providers.filters.file_parts import rewrite_file_parts
from providers.filters.prompted_tools.tool_request import rewrite_tool_request
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.request import ChatRequest, UpstreamModel

MOST_USER_ID_CHARS = 256
LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")
# options of a model's row that stand in for fields of a body that has none of them
THINKING_FIELDS = ("thinking", "reasoning_effort")
SERVICE_TIERS = {"auto": "auto", "default": "standard_only", "priority": "auto"}
MOST_TEMPERATURE = 1.0
FORMATS = ("text", "json_object", "json_schema")  # of an answer
JSON_DEMAND = "Answer with one JSON object and nothing else."
# field of the chat body -> the field of the Messages body in which it is sent
SENT_AS: dict[str, tuple[str, ...]] = {
    "max_completion_tokens": ("max_tokens",),
    "stop": ("stop_sequences",),
    "user": ("metadata",),
    "safety_identifier": ("metadata",),
    "reasoning_effort": ("thinking", "output_config"),
    "thinking": ("thinking", "output_config"),
    "parallel_tool_calls": ("tool_choice",),
    "web_search_options": ("tools",),
}
# fields that the gateway serves itself, or that ask for nothing else than Anthropic does anyway
UNMENTIONED_FIELDS = frozenset(
    "n stream stream_options logprobs top_logprobs modalities response_format".split()
)


def build_messages_body(request: ChatRequest, model: UpstreamModel) -> JsonObject:
    """Return the Messages body for a chat request. Raises Rejected."""
    family = find_family(model.name)
    body = prepare_chat_body(request.body, model)
    if problem := find_problem(body, family):
        raise Rejected(problem[1], param=problem[0], code="unsupported_parameter")
    payload: JsonObject = {"model": model.name, "max_tokens": choose_limit(body, model, family)}
    system, count = chat_messages.split_system(body["messages"])
    writer = chat_messages.MessageWriter(takes_system_messages=family.takes_system_messages)
    for position, message in enumerate(body["messages"][count:], count):
        writer.add_message(message, f"messages[{position}]")
    payload["messages"] = writer.finish(takes_prefill=family.takes_prefill)
    choice = add_tools(payload, body, model, family)
    if tool_fields.is_forced(choice) and not family.takes_forced_calls:
        system = system + demand_call(payload)
    add_thinking(payload, body, model, family)
    add_output_format(payload, body, system)
    if system:
        payload["system"] = system
    add_sampling(payload, body, family)
    add_small_fields(payload, body)
    if model.options.get("cache_control") == "auto":
        add_cache_marks(payload)
    if request.stream:
        payload["stream"] = True
    return payload


def prepare_chat_body(body: FrozenJsonObject, model: UpstreamModel) -> FrozenJsonObject:
    """Return the chat body with files and tools in words where the model cannot take them."""
    prepared = dict(body)
    if not model.files:
        prepared = rewrite_file_parts(prepared, model)
    if model.tools != "native":
        prepared = rewrite_tool_request(prepared)
    return prepared


def find_problem(body: FrozenJsonObject, family: ModelFamily) -> tuple[str, str] | None:
    """Return a wish of a chat body that these models cannot fulfil, as (param, sentence)."""
    format_kind = (body.get("response_format") or {}).get("type", "text")
    wishes = {
        "n": (body.get("n") or 1) > 1,
        "logprobs": body.get("logprobs"),
        "audio": body.get("audio"),
        "modalities": any(modality != "text" for modality in body.get("modalities") or ()),
        "functions": body.get("functions"),
        "response_format": format_kind not in FORMATS
        or (format_kind == "json_schema" and not family.has_structured_output),
    }
    for name, is_wished in wishes.items():
        if is_wished:
            return name, f"This model of Anthropic's cannot do what {name} asks for."
    for tool in body.get("tools") or ():
        if not tool_fields.is_known_tool(tool):
            kind = tool["type"]
            return "tools", f"This model of Anthropic's has no tools of the type {kind!r}."
    return None


def choose_limit(body: FrozenJsonObject, model: UpstreamModel, family: ModelFamily) -> int:
    """Return the limit of the answer, which Anthropic requires: of two the smaller one counts.

    Without one it is that of the row's options, or else the most that the model gives.
    """
    limits = [body[name] for name in LIMIT_FIELDS if body.get(name) is not None]
    if limits:
        return int(min(limits))
    option = model.options.get("max_tokens")
    return option if isinstance(option, int) else family.most_output_tokens


def add_tools(
    payload: JsonObject, body: FrozenJsonObject, model: UpstreamModel, family: ModelFamily
) -> JsonObject | None:
    """Write the tools and the choice among them into the payload, and return the choice."""
    tools = tool_fields.convert_tools(body, family, searches_web=model.search == Search.ON)
    if not tools:
        if names := chat_messages.list_called_names(payload["messages"]):
            # Anthropic refuses calls of tools that are not defined
            payload["tools"] = [tool_fields.make_past_tool(name) for name in names]
            payload["tool_choice"] = {"type": "none"}
        return None
    payload["tools"] = tools
    choice = tool_fields.convert_tool_choice(body)
    if choice is not None:
        payload["tool_choice"] = choice
    return choice


def demand_call(payload: JsonObject) -> list[JsonObject]:
    """Demand in words the call to which this model cannot be forced; return the system block.

    Changes the choice in the payload.
    """
    forced = payload["tool_choice"]
    payload["tool_choice"] = forced | {"type": "auto"}
    payload["tool_choice"].pop("name", None)
    return [{"type": "text", "text": tool_fields.demand_in_words(forced)}]


def add_thinking(
    payload: JsonObject, body: FrozenJsonObject, model: UpstreamModel, family: ModelFamily
) -> None:
    """Write `thinking` and `output_config` into the payload."""
    wishes = {name: body[name] for name in THINKING_FIELDS if body.get(name) is not None}
    if not wishes:
        wishes = {name: model.options[name] for name in THINKING_FIELDS if name in model.options}
    frame = thinking_wish.ThinkingFrame(
        max_tokens=payload["max_tokens"],
        forces_call=tool_fields.is_forced(payload.get("tool_choice")),
        shows_thinking=model.thinking != Thinking.HIDDEN,
        has_unthought_call=chat_messages.has_unthought_call(payload["messages"]),
    )
    payload |= thinking_wish.write_thinking(thinking_wish.read_wish(wishes), family, frame)


def add_output_format(
    payload: JsonObject, body: FrozenJsonObject, system: list[JsonObject]
) -> None:
    """Write the format of the answer into the payload; a plain JSON object is asked for in words.

    Changes `system`.
    """
    response_format = body.get("response_format") or {}
    if response_format.get("type") == "json_object":
        system.append({"type": "text", "text": JSON_DEMAND})
    if response_format.get("type") != "json_schema":
        return
    schema = response_format["json_schema"].get("schema") or {"type": "object"}
    output_format = {"type": "json_schema", "schema": close_schema(schema)}
    payload["output_config"] = payload.get("output_config", {}) | {"format": output_format}


def add_sampling(payload: JsonObject, body: FrozenJsonObject, family: ModelFamily) -> None:
    """Write the fields of sampling that the model takes into the payload.

    With thinking it takes none. OpenAI's temperature may be 2, Anthropic's 1 at most.
    """
    is_thinking = payload.get("thinking", {}).get("type") in ("enabled", "adaptive")
    if not family.takes_sampling or is_thinking:
        return
    for name in ("temperature", "top_p", "top_k"):
        if body.get(name) is not None:
            payload[name] = body[name]
    if "temperature" in payload:
        payload["temperature"] = min(payload["temperature"], MOST_TEMPERATURE)
        if not family.takes_both_samplings:
            payload.pop("top_p", None)


def add_small_fields(payload: JsonObject, body: FrozenJsonObject) -> None:
    """Write the stop sequences, the user and the service tier into the payload."""
    stop: Any = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if sequences := [text for text in stops if text.strip()]:
        payload["stop_sequences"] = sequences
    user = body.get("safety_identifier") or body.get("user")
    if user and len(user) <= MOST_USER_ID_CHARS:
        payload["metadata"] = {"user_id": user}
    tier = SERVICE_TIERS.get(body.get("service_tier") or "")
    if tier is not None:
        payload["service_tier"] = tier
    if isinstance(body.get("cache_control"), dict):
        payload["cache_control"] = body["cache_control"]


def find_left_out(body: FrozenJsonObject, payload: JsonObject) -> list[str]:
    """Return the fields of a chat body that the Messages body lacks, sorted."""
    return sorted(
        name
        for name, value in body.items()
        if value is not None
        and name not in UNMENTIONED_FIELDS
        and payload.keys().isdisjoint(SENT_AS.get(name, (name,)))
    )
