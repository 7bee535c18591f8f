"""Moonshot's variant of OpenAI's dialect, which several of its services speak."""

from providers.filters.reported_usage import conform_moonshot_usage
from providers.protocol.chunks import Chunk
from providers.protocol.request import ChatRequest, Credential
from providers.upstream.base_adapter import BaseAdapter


class MoonshotDialectAdapter(BaseAdapter):
    """The base of adapters for upstreams that report their usage as Moonshot does."""

    def read_event(self, data: bytes, credential: Credential) -> Chunk | None:
        chunk = super().read_event(data, credential)
        if chunk is not None:
            chunk = conform_moonshot_usage(chunk)
        return chunk

    def parse_answer(self, request: ChatRequest, data: bytes, credential: Credential) -> Chunk:
        return conform_moonshot_usage(super().parse_answer(request, data, credential))
