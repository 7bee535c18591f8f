"""The chat body that goes upstream, made from a response's body.

The caller's limit goes up as `max_tokens`: every upstream that speaks OpenAI's chat dialect knows
it, while several do not know `max_completion_tokens`. Only fields that are documented for chat
completions go up under their own names. Clients send notes of their own beside the documented
fields of a response, and strict upstreams refuse a body for any field that they do not know.
"""

from collections.abc import Sequence

from api.responses.request import tools
from api.responses.request.offered_tools import build_tool_names, list_offered_tools
from conversations.messages import input_to_items, items_to_chat
from conversations.messages.tool_names import ToolNames
from conversations.messages.tool_order import pair_tool_calls
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

# Fields of a response that go up under the same name, if a request gives them. They are OpenAI's
# fields of a chat completion, then fields that other documented services add to it, then our own.
CHAT_FIELDS = frozenset(
    """
    model stream temperature top_p user safety_identifier prompt_cache_key prompt_cache_retention
    service_tier seed stop frequency_penalty presence_penalty logit_bias prediction

    top_k top_a min_p typical_p repetition_penalty length_penalty min_tokens stop_token_ids
    ignore_eos skip_special_tokens include_stop_str_in_output bad_words guided_json guided_regex
    guided_choice guided_grammar structured_outputs chat_template_kwargs chat_template
    add_generation_prompt mirostat mirostat_eta mirostat_tau num_ctx keep_alive options
    thinking enable_thinking thinking_budget enable_search search_options
    models provider route plugins transforms preset providerOptions provider_options usage
    search_parameters safety_settings cached_content random_seed safe_prompt prompt_mode

    reasoning_format mpr_candidates long_prompts
    """.split()
)
LOGPROBS = "message.output_text.logprobs"


def build_chat_body(
    body: JsonObject,
    messages: Sequence[JsonObject],
    tool_names: ToolNames | None = None,
    *,
    search_setting: str = "",
) -> JsonObject:
    """Return the chat body for a validated body without references.

    `messages` has the request's own messages and those before them. `tool_names` are those of
    `read_tool_names`; `search_setting` is choices.Search of the model's alias or row. Raises
    InvalidRequest when there is nothing to answer, when a tool answers that was not called, or when
    a search is chosen that is switched off.
    """
    if tool_names is None:
        tool_names = read_tool_names(body)
    chat_body = {
        name: value for name, value in body.items() if name in CHAT_FIELDS and value is not None
    }
    chat_body["messages"] = [*build_instructions(body), *pair_tool_calls(messages)]
    if not chat_body["messages"]:
        raise InvalidRequest(
            "There is nothing to be answered.", param="input", code="missing_required_parameter"
        )
    chat_body |= build_limit_fields(body)
    chat_body |= build_text_fields(body)
    chat_body |= tools.build_tool_fields(body, tool_names, search_setting)
    return chat_body


def read_tool_names(body: JsonObject, *, keeps_custom_calls: bool = False) -> ToolNames:
    """Return the chat names of the tools that the validated body offers."""
    return build_tool_names(list_offered_tools(body), keeps_custom_calls=keeps_custom_calls)


def build_input_messages(body: JsonObject, tool_names: ToolNames | None = None) -> list[JsonObject]:
    """Return the messages of the input."""
    return items_to_chat.entries_to_messages(
        input_to_items.entries_from_input(body.get("input") or []),
        tool_names or read_tool_names(body),
    )


def build_instructions(body: JsonObject) -> list[JsonObject]:
    """Return the messages of the instructions, which later turns do not repeat."""
    instructions = body.get("instructions")
    if not instructions:
        return []
    if isinstance(instructions, list):
        return items_to_chat.entries_to_messages(input_to_items.entries_from_input(instructions))
    return [{"role": "system", "content": instructions}]


def build_limit_fields(body: JsonObject) -> JsonObject:
    """Return the fields that limit how much the model thinks and says."""
    effort = (body.get("reasoning") or {}).get("effort")
    fields = {"max_tokens": body.get("max_output_tokens"), "reasoning_effort": effort}
    return {name: value for name, value in fields.items() if value is not None}


def build_text_fields(body: JsonObject) -> JsonObject:
    """Return the fields about the form of the text: format, verbosity and log probabilities."""
    fields: JsonObject = {}
    text = body.get("text") or {}
    text_format = text.get("format") or {}
    if text_format.get("type") == "json_schema":
        schema = {
            name: value
            for name, value in text_format.items()
            if name != "type" and value is not None
        }
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif text_format.get("type") == "json_object":
        fields["response_format"] = {"type": "json_object"}
    if text.get("verbosity"):
        fields["verbosity"] = text["verbosity"]
    if body.get("top_logprobs"):
        fields["logprobs"] = True
        fields["top_logprobs"] = body["top_logprobs"]
    elif LOGPROBS in (body.get("include") or ()):
        fields["logprobs"] = True
    return fields
