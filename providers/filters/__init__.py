"""Filters that add to an answer the features that its model lacks: chunks -> chunks, no I/O.

`choose_filters` chooses the filters that an answer passes; most answers pass none.
"""

from providers.filters.filter_pipeline import Filter
from providers.filters.prompted_tools import tool_prompt
from providers.filters.prompted_tools.call_reader import CallReader
from providers.filters.thinking import ThinkingRenderer, ThinkingSplitter
from providers.protocol.attempt import Attempt
from providers.protocol.request import CHAT, ChatRequest, UpstreamModel


def choose_filters(
    request: ChatRequest, model: UpstreamModel, attempt: Attempt, most_hidden_bytes: int = 2**22
) -> list[Filter]:
    """Return new filters for one answer, in their order.

    `most_hidden_bytes`: how much hidden thinking is kept for counting.
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
        filters.append(ThinkingSplitter(model.thinking_format))
    if model.tools == "prompt" and tool_prompt.read_tool_offer(request.body).tools:
        # before thinking is put into the text, because calls in thinking do not count
        filters.append(CallReader(request, attempt))
    if model.thinking != "reasoning":
        attempt.hidden_thinking = []
        filters.append(ThinkingRenderer(model.thinking, attempt.hidden_thinking, most_hidden_bytes))
    return filters
