"""Turn Gemini's `usageMetadata` into OpenAI's usage. No I/O.

The prompt's count includes cached tokens, but not those of results of Gemini's own tools; the
count of the answer does not include thoughts. Source: Gemini's API reference, "UsageMetadata".
"""

from providers.filters.conform import as_index
from providers.protocol.json_types import JsonObject
from providers.protocol.usage_meter import TokenUsage


def convert_usage(metadata: JsonObject) -> JsonObject:
    """Return the usage in OpenAI's form, thoughts counted as reasoning and completion tokens."""

    def read_count(name: str) -> int:
        """Return a count, 0 when it is missing or odd."""
        return max(0, as_index(metadata.get(name), 0))

    thoughts = read_count("thoughtsTokenCount")
    usage = TokenUsage(
        prompt=read_count("promptTokenCount") + read_count("toolUsePromptTokenCount"),
        completion=read_count("candidatesTokenCount") + thoughts,
        reasoning=thoughts,
        cached=read_count("cachedContentTokenCount"),
    )
    return usage.as_openai()
