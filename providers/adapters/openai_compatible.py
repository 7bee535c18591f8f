"""Any service with OpenAI's HTTP interface.

Examples are OpenAI, Moonshot, DeepSeek, OpenRouter, Groq, Together, vLLM, Ollama and llama.cpp.
Official interfaces, with an API key as bearer token. Chat completions, completions, embeddings,
models. Source: OpenAI's API reference; the base adapter speaks this dialect. Such a service needs a
provider row, and no code. OpenRouter lists its models to everybody, so its keys are checked by "Get
current API key" of its API reference, which is free and needs the key.
"""

from typing import ClassVar

from providers.upstream.base_adapter import BaseAdapter


class Adapter(BaseAdapter):
    label = "OpenAI-compatible"
    relays_bodies = True
    KEY_CHECK_PATHS: ClassVar[dict[str, str]] = {"openrouter.ai": "key"}
