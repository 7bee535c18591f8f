"""Filters that add to an answer the features that its model lacks: chunks -> chunks, no I/O.

`needed` chooses the filters that an answer passes; most answers pass none.
"""

from providers.filters.filter_pipeline import Filter
from providers.filters.prompted_tools import tool_prompt
from providers.filters.prompted_tools.call_reader import CallReader
from providers.filters.thinking import ThinkingShown, ThinkingSplitter
from providers.protocol.attempt import Attempt
from providers.protocol.request import CHAT, ChatRequest, UpstreamModel


def needed(
    request: ChatRequest, model: UpstreamModel, attempt: Attempt, kept_bytes: int = 2**22
) -> list[Filter]:
    """Return new filters for one answer, in their order.

    `kept_bytes`: how much hidden thinking is kept for counting.
    """
    if model.thinks == "separate" and model.thinking == "reasoning" and model.tools == "native":
        return []
    if request.endpoint != CHAT:
        return []
    steps: list[Filter] = []
    if model.thinks != "separate":
        steps.append(ThinkingSplitter(model.thinks))
    if model.tools == "prompt" and tool_prompt.offer(request.body).tools:
        steps.append(
            CallReader(request, attempt)
        )  # comes before thinking is put into the text, because calls in thinking do not count
    if model.thinking != "reasoning":
        attempt.unshown = []
        steps.append(ThinkingShown(model.thinking, attempt.unshown, kept_bytes))
    return steps
