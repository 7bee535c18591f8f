"""The profiles of well-known upstreams: a dialect for each of their models.

A provider's row may name its profile. Otherwise the host of its base URL decides, and a service
that is not known here has the default dialect. Changes in the row go on top.

Sources: the API reference of each service (chat completions, reasoning, tool calling), and the
refusals that users of these services have reported publicly, as of November 2026.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from msgspec import structs

from providers.protocol.dialect import REASONING_FIELD, UNMISTAKABLE_FORMS, Dialect

# fields that OpenAI documents for chat completions and that other strict services refuse; none of
# them asks for another kind of answer
OPENAI_ONLY_FIELDS = frozenset(
    """
    store metadata service_tier prediction verbosity web_search_options prompt_cache_key
    prompt_cache_retention safety_identifier
    """.split()
)

NO_FORMS: frozenset[str] = frozenset()  # of calls that slip into the text
# the fields of a dialect that are sets; a row has lists for them
SET_FIELDS = ("refused_fields", "leaked_forms")
DEFAULT = Dialect()


@dataclass(frozen=True, slots=True)
class Rule:
    """Changes of a profile's dialect for the models whose name matches."""

    pattern: re.Pattern[str]
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Profile:
    """The dialect of one service, with the rules of some of its models.

    `hosts` are the ends of its hosts' names: `mistral.ai` stands for `api.mistral.ai` too.
    """

    label: str
    hosts: tuple[str, ...] = ()
    dialect: Dialect = DEFAULT
    rules: tuple[Rule, ...] = ()

    def find_dialect(self, model_name: str) -> Dialect:
        """Return the dialect of the model with this upstream name."""
        for rule in self.rules:
            if rule.pattern.search(model_name):
                return structs.replace(self.dialect, **rule.changes)
        return self.dialect


def make_rule(pattern: str, **changes: object) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE), changes)


# DeepSeek from V4 on and Kimi's thinking models refuse a request with tools whose earlier answers
# come back without their thinking, wherever they are served
NEEDS_THINKING = make_rule(
    r"deepseek-v(?:[4-9]|\d\d)|kimi-(?:k2-thinking|k2\.\d|k[3-9]|latest|for-coding)",
    needs_thinking=True,
    thinking_field=REASONING_FIELD,
)
ROUTER_RULE = make_rule(
    r"deepseek-v(?:[4-9]|\d\d)|kimi-k2-thinking", needs_thinking=True, thinking_field="reasoning"
)
PROFILES: dict[str, Profile] = {
    "openai": Profile(
        "OpenAI",
        ("api.openai.com", "openai.azure.com", "services.ai.azure.com"),
        Dialect(
            knows_developer=True,
            thinking_field="",
            leaked_forms=NO_FORMS,
            takes_call_extras=False,
        ),
        (
            # reasoning models refuse `max_tokens`
            make_rule(r"^(o\d|gpt-(?:[5-9]|\d\d)|codex)", limit_field="max_completion_tokens"),
            # Azure serves other people's models too
            make_rule(r"deepseek|gpt-oss|kimi|llama|mistral|qwen", leaked_forms=UNMISTAKABLE_FORMS),
        ),
    ),
    "anthropic": Profile(
        "Anthropic's OpenAI endpoint",
        ("api.anthropic.com",),
        Dialect(knows_developer=True, thinking_field="", leaked_forms=NO_FORMS),
    ),
    "anthropic-messages": Profile(
        "Anthropic's Messages API",
        (),
        Dialect(knows_developer=True, takes_cache_control=True, leaked_forms=NO_FORMS),
    ),
    "gemini": Profile(
        "Gemini's OpenAI endpoint",
        ("generativelanguage.googleapis.com",),
        Dialect(
            refused_fields=OPENAI_ONLY_FIELDS | {"user"},
            thinking_field="",
            leaked_forms=NO_FORMS,
        ),
    ),
    "gemini-native": Profile(
        "Gemini's own interface",
        (),
        Dialect(knows_developer=True, leaked_forms=NO_FORMS, takes_stream_options=False),
    ),
    "mistral": Profile(
        "Mistral",
        ("mistral.ai",),
        Dialect(
            limit_field="max_tokens",
            refused_fields=OPENAI_ONLY_FIELDS | {"user"},
            takes_names=False,
            takes_stream_options=False,  # its streams end with the usage anyway
            thinking_field="",
            takes_call_extras=False,
        ),
    ),
    "xai": Profile("xAI", ("api.x.ai",), Dialect(thinking_field="", leaked_forms=NO_FORMS)),
    "deepseek": Profile(
        "DeepSeek",
        ("api.deepseek.com",),
        Dialect(
            limit_field="max_tokens", thinking_field=REASONING_FIELD, takes_thinking_switch=True
        ),
        (
            make_rule(r"^deepseek-reasoner$|-r1", thinking_field=""),
            make_rule(r"^deepseek-v(?:[4-9]|\d\d)|^deepseek-chat$", needs_thinking=True),
        ),
    ),
    "dashscope": Profile(
        "Qwen, Alibaba's DashScope",
        ("aliyuncs.com",),
        Dialect(
            limit_field="max_tokens",
            refused_fields=frozenset({"web_search_options"}),
            takes_cache_control=True,
        ),
        (NEEDS_THINKING,),
    ),
    "zai": Profile(
        "GLM, Z.ai",
        ("api.z.ai", "open.bigmodel.cn"),
        Dialect(
            limit_field="max_tokens", thinking_field=REASONING_FIELD, takes_thinking_switch=True
        ),
    ),
    "minimax": Profile(
        "MiniMax",
        ("api.minimax.io", "api.minimaxi.com"),
        Dialect(thinking_format="tagged"),
    ),
    "moonshot": Profile(
        "Moonshot AI",
        ("api.moonshot.ai", "api.moonshot.cn", "api.kimi.com"),
        Dialect(thinking_field=REASONING_FIELD, takes_thinking_switch=True),
        (NEEDS_THINKING,),
    ),
    "openrouter": Profile(
        "OpenRouter",
        ("openrouter.ai",),
        Dialect(
            knows_developer=True,
            takes_cache_control=True,
            takes_rare_efforts=True,
            thinking_field="reasoning",
        ),
        (ROUTER_RULE,),
    ),
    "groq": Profile(
        "Groq",
        ("api.groq.com",),
        Dialect(
            refused_fields=frozenset({"web_search_options", "prediction"}),
            takes_names=False,
            thinking_field="reasoning",
            takes_call_extras=False,
        ),
    ),
    "together": Profile(
        "Together AI",
        ("api.together.xyz", "api.together.ai"),
        Dialect(limit_field="max_tokens", thinking_field="reasoning"),
        (ROUTER_RULE,),
    ),
    "fireworks": Profile(
        "Fireworks", ("api.fireworks.ai",), Dialect(limit_field="max_tokens"), (NEEDS_THINKING,)
    ),
    "siliconflow": Profile(
        "SiliconFlow",
        ("api.siliconflow.cn", "api.siliconflow.com"),
        Dialect(limit_field="max_tokens"),
        (NEEDS_THINKING,),
    ),
    "ollama": Profile("Ollama", (), Dialect(limit_field="max_tokens", thinking_field="reasoning")),
    "vllm": Profile("vLLM", (), Dialect(thinking_field="reasoning")),
    "sglang": Profile("SGLang", (), Dialect(thinking_field=REASONING_FIELD)),
    "llama.cpp": Profile(
        "llama.cpp", (), Dialect(limit_field="max_tokens", thinking_field=REASONING_FIELD)
    ),
    "lmstudio": Profile("LM Studio", (), Dialect(limit_field="max_tokens")),
    "bedrock": Profile(
        "Amazon Bedrock",
        ("amazonaws.com",),
        Dialect(refused_fields=OPENAI_ONLY_FIELDS, takes_names=False),
        # its Chat Completions endpoint puts the thinking of these models into their text
        (make_rule(r"gpt-oss", thinking_format="tagged", thinking_tags="reasoning"),),
    ),
    "kimi-web": Profile(
        "Kimi, its web site", (), Dialect(native_tools=False, takes_stream_options=False)
    ),
    "k2think": Profile(
        "K2-Think",
        ("k2think.ai",),
        Dialect(
            thinking_field="",
            native_tools=False,
            takes_stream_options=False,
            thinking_format="implied",
        ),
    ),
}
UNKNOWN = Profile("not known")


def find_profile(name: str, base_url: str) -> Profile:
    """Return the profile of this name, or else of the host of this base URL.

    A service that is not known gets the profile with the default dialect.
    """
    if name:
        return PROFILES.get(name, UNKNOWN)
    host = urlsplit(base_url).hostname or ""
    for profile in PROFILES.values():
        if any(host == known or host.endswith(f".{known}") for known in profile.hosts):
            return profile
    return UNKNOWN


def find_dialect(
    name: str, base_url: str, model_name: str, changes: Mapping[str, Any] | None = None
) -> Dialect:
    """Return the dialect in which a model is called.

    `name` and `changes` are those of the provider's row; `changes` maps fields of `Dialect` to
    values of JSON.
    """
    dialect = find_profile(name, base_url).find_dialect(model_name)
    if not changes:
        return dialect
    values = dict(changes)
    for field in SET_FIELDS:
        if field in values:
            values[field] = frozenset(values[field])
    return structs.replace(dialect, **values)
