"""Well-known upstreams as data for `seed_providers`: a Provider row's fields and its known models.

Sources: each service's API documentation. Moonshot's two hosts have separate keys. K2-Think's
official interface is known from its published clients only; they do not show if it takes
`stream_options` or tools, so neither is sent. vLLM listens on port 8000 by default, as this gateway
does, so its preset expects `vllm serve --port 8001`.
"""

from dataclasses import dataclass, field

from providers.preset_models import BEDROCK_MODELS, GEMINI_MODELS
from providers.protocol.json_types import JsonObject

LOCAL_FIELDS: JsonObject = {"needs_token": False, "allow_private": True}
WEB_FIELDS = {"native_tools": False, "reports_usage": False}
# Other names of the models of a kind: an ending, and the settings of an alias with that ending.
THINKING_ALIASES: dict[str, JsonObject] = {"nothink": {"thinking": "hidden"}}
SEARCH_ALIASES: dict[str, JsonObject] = {
    "search": {"search": "on"},
    "nosearch": {"search": "off"},
}
ALIASES_BY_KIND = {
    "k2think_web": THINKING_ALIASES,
    "kimi_web": SEARCH_ALIASES,
    "kimi_rest": SEARCH_ALIASES,
}
# sources differ on the names of Kimi's scenarios: most clients of the site use these
KIMI_MODEL: JsonObject = {"capabilities": ["chat", "reasoning"], "search": "on"}
K2THINK_MODEL: JsonObject = {
    "public_id": "MBZUAI-IFM/K2-Think-v2",
    "upstream_name": "MBZUAI-IFM/K2-Think-v2",
    "capabilities": ["chat", "reasoning"],
    "thinking_format": "implied",
}


@dataclass(frozen=True, slots=True)
class Preset:
    """The fields of one upstream's rows.

    `fields` are the Provider row's fields that differ from its defaults; `models` are the fields of
    ChatModel rows.
    """

    label: str
    base_url: str
    fields: JsonObject = field(default_factory=dict)
    models: tuple[JsonObject, ...] = ()
    kind: str = "openai_compatible"
    is_official: bool = True  # unofficial ones are seeded only when they are named
    # fields of ModelAlias rows; an alias that already exists is left unchanged
    aliases: tuple[JsonObject, ...] = ()

    @property
    def is_usual(self) -> bool:
        """Return whether the preset is seeded without being named.

        These are services that anybody can reach, through their official interface.
        """
        return self.is_official and not self.fields.get("allow_private")


def make_aliases(
    settings_by_ending: dict[str, JsonObject], public_id: str, name: str = ""
) -> list[JsonObject]:
    """Return the fields of a model's aliases: its name, or another one, with each ending."""
    return [
        {"alias": f"{name or public_id}-{ending}", "public_id": public_id, **settings}
        for ending, settings in settings_by_ending.items()
    ]


# clients of the site also use the first version's id, and -nothink for the answer alone; the site
# puts thinking inside the text: here it is reasoning_content, and `"reasoning_format": "raw"` asks
# for the old form
K2THINK_ID: str = K2THINK_MODEL["public_id"]
K2THINK_ALIASES: tuple[JsonObject, ...] = (
    *make_aliases(THINKING_ALIASES, K2THINK_ID),
    {"alias": "MBZUAI-IFM/K2-Think", "public_id": K2THINK_ID},
    *make_aliases(THINKING_ALIASES, K2THINK_ID, "MBZUAI-IFM/K2-Think"),
)
KIMI_ALIASES = (*make_aliases(SEARCH_ALIASES, "k2"), *make_aliases(SEARCH_ALIASES, "k1.5"))


def make_claude_model(name: str, window: int = 1_000_000) -> JsonObject:
    """Return the fields of one of Anthropic's models; `window` is its context window in tokens."""
    return {
        "public_id": name,
        "upstream_name": name,
        "capabilities": ["chat", "tools", "vision", "files", "reasoning"],
        "context_window": window,
    }


# Anthropic's models that are not deprecated, as platform.claude.com listed them in November 2026.
# How long their answers may be is in `adapters/anthropic/model_families.py`, what they cost in
# `api/pricing/well_known_prices.yaml`.
CLAUDE_MODELS = (
    make_claude_model("claude-fable-5-2"),
    make_claude_model("claude-fable-5-1"),
    make_claude_model("claude-opus-5-5"),
    make_claude_model("claude-opus-5"),
    make_claude_model("claude-opus-4-8"),
    make_claude_model("claude-sonnet-5-5"),
    make_claude_model("claude-sonnet-5"),
    make_claude_model("claude-haiku-5-5"),
    make_claude_model("claude-haiku-4-5", 200_000),
)


def make_local_preset(label: str, base_url: str, dialect: str) -> Preset:
    """Return the preset of a server on this machine, whose address does not tell its dialect."""
    return Preset(f"{label} on this machine", base_url, LOCAL_FIELDS | {"dialect": dialect})


PRESETS: dict[str, Preset] = {
    "openai": Preset("OpenAI", "https://api.openai.com/v1"),
    "anthropic": Preset(
        "Anthropic, its Messages API",
        "https://api.anthropic.com/v1",
        models=CLAUDE_MODELS,
        kind="anthropic",
    ),
    "moonshot": Preset("Moonshot AI, international", "https://api.moonshot.ai/v1", kind="moonshot"),
    "moonshot-cn": Preset("Moonshot AI, China", "https://api.moonshot.cn/v1", kind="moonshot"),
    "kimi-code": Preset(
        "Kimi Code, for subscribers",
        "https://api.kimi.com/coding/v1",
        models=(
            {
                "public_id": "kimi-for-coding",
                "upstream_name": "kimi-for-coding",
                "capabilities": ["chat", "tools", "reasoning"],
            },
            {
                "public_id": "kimi-for-coding-thinking",
                "upstream_name": "kimi-for-coding",
                "capabilities": ["chat", "tools", "reasoning"],
                "options": {"thinking": True},
            },
        ),
        kind="kimi_code",
    ),
    "k2think": Preset(
        "K2-Think, official",
        "https://api.k2think.ai/v1",
        {"native_tools": False, "reports_usage": False},
        (K2THINK_MODEL,),
        aliases=K2THINK_ALIASES,
    ),
    "k2think-web": Preset(
        "K2-Think, its web site (unofficial)",
        "https://www.k2think.ai/api",
        {"native_tools": False, "reports_usage": False},
        (
            K2THINK_MODEL
            | {
                "priority": 1,
                "options": {"root": "ifm-k2-think-v2"},
                "capabilities": ["chat", "reasoning", "vision"],
            },
        ),
        "k2think_web",
        is_official=False,
        aliases=K2THINK_ALIASES,
    ),
    "deepseek": Preset("DeepSeek", "https://api.deepseek.com/v1"),
    "gemini": Preset(
        "Gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        models=GEMINI_MODELS,
        kind="gemini",
    ),
    "gemini-openai": Preset(
        "Gemini's OpenAI endpoint", "https://generativelanguage.googleapis.com/v1beta/openai"
    ),
    "bedrock": Preset(
        "Amazon Bedrock, Oregon",
        "https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1",
        models=BEDROCK_MODELS,
    ),
    "mistral": Preset("Mistral", "https://api.mistral.ai/v1"),
    "xai": Preset("xAI", "https://api.x.ai/v1"),
    "dashscope": Preset(
        "Qwen, Alibaba's DashScope, international",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    ),
    "dashscope-cn": Preset(
        "Qwen, Alibaba's DashScope, China", "https://dashscope.aliyuncs.com/compatible-mode/v1"
    ),
    "zai": Preset("GLM, Z.ai", "https://api.z.ai/api/paas/v4"),
    "zai-cn": Preset("GLM, Zhipu's BigModel, China", "https://open.bigmodel.cn/api/paas/v4"),
    "minimax": Preset("MiniMax, international", "https://api.minimax.io/v1"),
    "minimax-cn": Preset("MiniMax, China", "https://api.minimaxi.com/v1"),
    "openrouter": Preset("OpenRouter", "https://openrouter.ai/api/v1"),
    "groq": Preset("Groq", "https://api.groq.com/openai/v1"),
    "together": Preset("Together AI", "https://api.together.xyz/v1"),
    "fireworks": Preset("Fireworks", "https://api.fireworks.ai/inference/v1"),
    "siliconflow": Preset("SiliconFlow, international", "https://api.siliconflow.com/v1"),
    "siliconflow-cn": Preset("SiliconFlow, China", "https://api.siliconflow.cn/v1"),
    "ollama": make_local_preset("Ollama", "http://127.0.0.1:11434/v1", "ollama"),
    "vllm": make_local_preset("vLLM", "http://127.0.0.1:8001/v1", "vllm"),
    "sglang": make_local_preset("SGLang", "http://127.0.0.1:30000/v1", "sglang"),
    "llama.cpp": make_local_preset("llama.cpp server", "http://127.0.0.1:8080/v1", "llama.cpp"),
    "lmstudio": make_local_preset("LM Studio", "http://127.0.0.1:1234/v1", "lmstudio"),
    "kimi-web": Preset(
        "Kimi, its web site (unofficial)",
        "https://www.kimi.com",
        WEB_FIELDS,
        (
            KIMI_MODEL
            | {
                "public_id": "k2",
                "upstream_name": "SCENARIO_K2D5",
                "options": {"options": {"thinking": False}},
            },
            KIMI_MODEL
            | {
                "public_id": "k2-thinking",
                "upstream_name": "SCENARIO_K2D5",
                "options": {"options": {"thinking": True}},
            },
            KIMI_MODEL | {"public_id": "k1.5", "upstream_name": "SCENARIO_K1"},
        ),
        "kimi_web",
        is_official=False,
        aliases=(
            *KIMI_ALIASES,
            {"alias": "k2-thinking-nosearch", "public_id": "k2-thinking", "search": "off"},
        ),
    ),
    "kimi-rest": Preset(
        "Kimi, its web site's older interface (unofficial)",
        "https://www.kimi.com",
        WEB_FIELDS,
        tuple(
            KIMI_MODEL
            | {"public_id": name, "upstream_name": name, "priority": 1}
            | {"capabilities": ["chat", "reasoning", "vision", "files"]}
            for name in ("k2", "k1.5")
        ),
        "kimi_rest",
        is_official=False,
        aliases=KIMI_ALIASES,
    ),
}
