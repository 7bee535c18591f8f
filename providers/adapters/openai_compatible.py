"""Any service with OpenAI's HTTP interface: OpenAI, Moonshot, DeepSeek, OpenRouter, Groq, Together,
vLLM, Ollama, llama.cpp …

Official interfaces, API key as bearer. Chat completions, completions, embeddings, models. Source:
OpenAI's API reference; the base adapter is that dialect. Such services are rows, not files.
OpenRouter lists its models to everybody; its API reference has "Get current API key", which is free
and needs the key.
"""

from typing import ClassVar

from providers.upstream.base_adapter import BaseAdapter


class Adapter(BaseAdapter):
    label = "OpenAI-compatible"
    KEY_CALLS: ClassVar[dict[str, str]] = {"openrouter.ai": "key"}
