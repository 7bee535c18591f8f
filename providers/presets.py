"""Upstreams that many people use, as data for `seed_providers`: a Provider row's fields and the models known for sure.

Sources: each service's API documentation. Moonshot's two hosts have keys of their own. K2-Think's official interface
is known from its published clients: whether it takes `stream_options` or tools is not, so neither is sent. vLLM
listens on port 8000 unless told otherwise, as this gateway does, so its preset expects `vllm serve --port 8001`.
"""

from dataclasses import dataclass, field
from typing import Any

LOCAL = {"needs_token": False, "allow_private": True}


@dataclass(frozen=True, slots=True)
class Preset:
    """`fields` are those of the Provider row that differ from its defaults, `models` those of ChatModel rows."""

    label: str
    base_url: str
    fields: dict[str, Any] = field(default_factory=dict)
    models: tuple[dict[str, Any], ...] = ()
    kind: str = "openai_compatible"


PRESETS: dict[str, Preset] = {
    "openai": Preset("OpenAI", "https://api.openai.com/v1"),
    "moonshot": Preset("Moonshot AI, international", "https://api.moonshot.ai/v1"),
    "moonshot-cn": Preset("Moonshot AI, China", "https://api.moonshot.cn/v1"),
    "k2think": Preset(
        "K2-Think, official",
        "https://api.k2think.ai/v1",
        {"native_tools": False, "reports_usage": False},
        (
            {
                "public_id": "MBZUAI-IFM/K2-Think-v2",
                "upstream_name": "MBZUAI-IFM/K2-Think-v2",
                "capabilities": ["chat", "reasoning"],
            },
        ),
    ),
    "deepseek": Preset("DeepSeek", "https://api.deepseek.com/v1"),
    "openrouter": Preset("OpenRouter", "https://openrouter.ai/api/v1"),
    "groq": Preset("Groq", "https://api.groq.com/openai/v1"),
    "together": Preset("Together AI", "https://api.together.xyz/v1"),
    "ollama": Preset("Ollama on this machine", "http://127.0.0.1:11434/v1", LOCAL),
    "vllm": Preset("vLLM on this machine", "http://127.0.0.1:8001/v1", LOCAL),
    "llama.cpp": Preset("llama.cpp server on this machine", "http://127.0.0.1:8080/v1", LOCAL),
}
