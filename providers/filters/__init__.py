"""Filters that add to an answer the features that its model lacks: chunks -> chunks, no I/O.

`choose_filters` chooses the filters that an answer passes; most answers pass none.
"""

from providers.filters.filter_pipeline import Filter
from providers.filters.prompted_tools import tool_prompt
from providers.filters.prompted_tools.call_reader import CallReader
from providers.filters.prompted_tools.call_syntax import ALL_FORMS
from providers.filters.thinking import ThinkingRenderer, ThinkingSplitter
from providers.protocol.attempt import Attempt
from providers.protocol.message_text import SYSTEM_ROLES
from providers.protocol.request import CHAT, ChatRequest, UpstreamModel


def choose_filters(
    request: ChatRequest,
    model: UpstreamModel,
    attempt: Attempt,
    most_hidden_bytes: int = 2**22,
) -> list[Filter]:
    """Return new filters for one answer, in their order.

    `most_hidden_bytes`: how much hidden thinking is kept for counting. An answer that passes no
    other filter is not looked through for leaked calls here (`choose_leak_reader`).
    """
    if (
        model.thinking_format == "separate"
        and model.thinking == "reasoning"
        and model.tools == "native"
    ):
        return []
    if request.endpoint != CHAT:
        return []
    filters: list[Filter] = []
    if model.thinking_format != "separate":
        filters.append(make_thinking_splitter(request, model))
    # before thinking is put into the text, where a call would look like one of the answer
    if model.tools == "prompt" and tool_prompt.read_tool_offer(request.body).tools:
        filters.append(CallReader(request, attempt, call_forms=ALL_FORMS))
    elif reader := choose_leak_reader(request, model, attempt):
        filters.append(reader)
    if model.thinking != "reasoning":
        attempt.hidden_thinking = []
        attempt.keeps_thinking = model.dialect.needs_thinking and bool(request.body.get("tools"))
        filters.append(ThinkingRenderer(model.thinking, attempt.hidden_thinking, most_hidden_bytes))
    return filters


def make_thinking_splitter(request: ChatRequest, model: UpstreamModel) -> ThinkingSplitter:
    """Return a new splitter for one answer of a model that thinks in its text.

    A model whose opening tag may be missing is asked for tags by its chat template, which leaves
    that out when the caller has instructions or tools of its own. So such an answer is not held
    back, unless an earlier one has shown that this model thinks all the same.
    """
    family = model.dialect.thinking_tags
    is_implied = model.thinking_format == "implied"
    habits = model.thinking_habits
    if is_implied and has_instructions(request) and not habits.omits_opening_tag:
        return ThinkingSplitter("tagged", family, habits)
    return ThinkingSplitter(model.thinking_format, family)


def has_instructions(request: ChatRequest) -> bool:
    """Return whether a caller gives the model instructions or tools."""
    body = request.body
    if body.get("tools") or body.get("functions"):
        return True
    return any(message["role"] in SYSTEM_ROLES for message in body["messages"])


def choose_leak_reader(
    request: ChatRequest, model: UpstreamModel, attempt: Attempt
) -> CallReader | None:
    """Return a reader of the calls that a native upstream lets slip into its text.

    There is none for a request without tools, or for an upstream whose dialect says that none slip
    through, so that it costs nothing there.
    """
    leaked_forms = model.dialect.leaked_forms
    if model.tools != "native" or not leaked_forms or request.endpoint != CHAT:
        return None
    body = request.body
    if not (body.get("tools") or body.get("functions")) or body.get("tool_choice") == "none":
        return None
    return CallReader(request, attempt, call_forms=leaked_forms, is_native=True)
