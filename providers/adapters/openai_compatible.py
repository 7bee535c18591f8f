"""Any service with OpenAI's HTTP interface: OpenAI, Moonshot, DeepSeek, OpenRouter, Groq, Together, vLLM, Ollama,
llama.cpp …

Official interfaces, API key as bearer. Chat completions, completions, embeddings, models. Source: OpenAI's API
reference; the base adapter is that dialect. Such services are rows, not files.
"""

from providers.base import BaseAdapter


class Adapter(BaseAdapter):
    label = "OpenAI-compatible"
