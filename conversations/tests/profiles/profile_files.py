"""Configuration files of the two programs, and the rows that they become."""

from typing import Any

from providers.models import ChatModel, Provider, VirtualModel
from tokens.models import UpstreamToken

KEY = "sk-made-up-0123456789abcdef"
O1 = f"""# configuration
api_bearer_token: 'of the callers'
model_provider_api_key: {KEY}   # secret
default_api_url: "https://api.openai.com/v1/chat/completions"
default_model: gpt-4o-mini
stream_status_feedback: false
use_regex_processing: true
"""
KIMI: dict[str, Any] = {
    "llm": {
        "type": "api",
        "api_key": KEY,
        "api_url": "https://api.moonshot.ai/v1",
        "model_name": "kimi-k2",
    },
    "processor": {"batch_size": 256, "entropy_threshold": 3, "entropy_method": "weighted"},
    "rag": {
        "top_k": 5,
        "similarity_threshold": 0.7,
        "use_faiss": True,
        "embedding_model": "all-MiniLM-L6-v2",
    },
    "mpr_candidates": 4,
}


def count_rows() -> list[int]:
    return [model.objects.count() for model in (Provider, ChatModel, VirtualModel, UpstreamToken)]
