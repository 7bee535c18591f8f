"""What a model lacks is made up for on the way up: chunks -> chunks, no I/O. `needed` says which filters an answer
passes; most pass none.
"""

from providers.chat import CHAT, Attempt, ChatRequest, UpstreamModel
from providers.filters.shaping import Filter


def needed(request: ChatRequest, model: UpstreamModel, attempt: Attempt) -> list[Filter]:
    """The filters for one answer, in their order; new ones for each attempt."""
    if model.thinks == "separate" and model.thinking == "reasoning" and model.tools == "native":
        return []
    if request.endpoint != CHAT:
        return []
    steps: list[Filter] = []
    return steps
