"""Models of presets, with what services publish of them.

Sources: Gemini's model pages (ai.google.dev/gemini-api/docs/models), as of November 2026; prices
are in `api/pricing/well_known_prices.yaml`. Amazon's model cards (docs.aws.amazon.com/bedrock), as
of November 2026.
"""

from providers.protocol.json_types import JsonObject

GEMINI_CHAT_FIELDS: JsonObject = {
    "capabilities": ["chat", "tools", "vision", "files", "reasoning"],
    "context_window": 1_048_576,
    "max_output_tokens": 65_536,
}
GEMINI_CHAT_MODELS = (
    "gemini-3.5-flash",
    "gemini-3.1-pro-preview",
    "gemini-3.1-flash-lite",
    "gemini-3-flash-preview",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
)
GEMINI_EMBEDDING_MODEL: JsonObject = {
    "public_id": "gemini-embedding-001",
    "upstream_name": "gemini-embedding-001",
    "capabilities": ["embeddings"],
    "context_window": 2_048,
}
GEMINI_MODELS: tuple[JsonObject, ...] = (
    *(
        {"public_id": name, "upstream_name": name, **GEMINI_CHAT_FIELDS}
        for name in GEMINI_CHAT_MODELS
    ),
    GEMINI_EMBEDDING_MODEL,
)
# Bedrock's Chat Completions endpoint has no list of models
BEDROCK_MODELS: tuple[JsonObject, ...] = tuple(
    {
        "public_id": f"gpt-oss-{size}",
        "upstream_name": f"openai.gpt-oss-{size}-1:0",
        "capabilities": ["chat", "tools", "reasoning"],
        "context_window": 131_072,
    }
    for size in ("120b", "20b")
)
