"""Moonshot's variant of OpenAI's dialect, which several of its services speak."""

import re

from providers.filters.reported_usage import conform_moonshot_usage
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest, Credential
from providers.upstream.base_adapter import BaseAdapter

# models that think unless they are told not to, and then take one temperature only
THINKING_MODELS = re.compile(r"kimi-(?:k2\.\d|k[3-9]|latest)", re.IGNORECASE)
TEMPERATURE_WITHOUT_THINKING = 0.6


def is_thinking_disabled(body: JsonObject) -> bool:
    """Return whether a request asks for an answer without thinking."""
    thinking = body.get("thinking")
    if isinstance(thinking, dict):
        return thinking.get("type") == "disabled"
    return thinking is False


class MoonshotDialectAdapter(BaseAdapter):
    """The base of adapters for upstreams that report their usage as Moonshot does."""

    def read_event(self, data: bytes, credential: Credential) -> Chunk | None:
        chunk = super().read_event(data, credential)
        if chunk is not None:
            chunk = conform_moonshot_usage(chunk)
        return chunk

    def parse_answer(self, request: ChatRequest, data: bytes, credential: Credential) -> Chunk:
        return conform_moonshot_usage(super().parse_answer(request, data, credential))
