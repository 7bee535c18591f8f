"""What a model lacks is made up for on the way up: chunks -> chunks, no I/O. `needed` says which
filters an answer passes; most pass none.
"""

from providers.filters.filter_pipeline import Filter
from providers.filters.prompted_tools import tool_prompt
from providers.filters.prompted_tools.call_reader import CallReader
from providers.filters.thinking import ThinkingShown, ThinkingSplitter
from providers.protocol.chat import CHAT, Attempt, ChatRequest, UpstreamModel


def needed(
    request: ChatRequest, model: UpstreamModel, attempt: Attempt, kept_bytes: int = 2**22
) -> list[Filter]:
    """The filters for one answer, in their order; new ones for each attempt. `kept_bytes`: of
    hidden thinking.
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
        )  # before thinking is shown in the text: a call in it is none
    if model.thinking != "reasoning":
        attempt.unshown = []
        steps.append(ThinkingShown(model.thinking, attempt.unshown, kept_bytes))
    return steps
