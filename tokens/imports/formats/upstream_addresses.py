"""Tell whether a credential belongs to another upstream than the provider that it is imported for.

Only a file that names an address can tell. Numbers of channel types: those that one-api and new-api
share (`ChannelBaseURLs` in both programs). Names of models: LiteLLM's prefixes. Names of variables:
the upstreams' own documents.
"""

from urllib.parse import urlsplit

CHANNEL_ADDRESSES = {
    1: "https://api.openai.com",
    14: "https://api.anthropic.com",
    16: "https://open.bigmodel.cn",
    17: "https://dashscope.aliyuncs.com",
    20: "https://openrouter.ai",
    24: "https://generativelanguage.googleapis.com",
    25: "https://api.moonshot.cn",
}
# OpenAI's name says nothing: everybody uses it for upstreams that are compatible
NAMED_ADDRESSES = {
    "anthropic": "https://api.anthropic.com",
    "claude": "https://api.anthropic.com",
    "deepseek": "https://api.deepseek.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "groq": "https://api.groq.com",
    "mistral": "https://api.mistral.ai",
    "openrouter": "https://openrouter.ai",
    "together_ai": "https://api.together.xyz",
    "xai": "https://api.x.ai",
}
SHORT_SUFFIXES = frozenset(("ac", "co", "com", "edu", "gov", "net", "org"))
MAX_SHOWN_CHARS = 120


def read_host(address: str) -> str:
    """Return the host of an address or of a cookie's domain, in small letters; empty if none."""
    text = address.strip().lower()
    if "//" not in text:
        text = f"//{text}"
    try:
        host = urlsplit(text).hostname or ""
    except ValueError:
        return ""
    return host.strip(".")


def find_owner_domain(host: str) -> str:
    """Return the part of a host's name that its owner registered, for example `example.co.uk`.

    An address of numbers and a name without a dot are returned as they are.
    """
    labels = host.split(".")
    if len(labels) < 3 or ":" in host or labels[-1].isdigit():
        return host
    kept = 2
    if labels[-2] in SHORT_SUFFIXES and len(labels[-1]) == 2:
        kept = 3
    return ".".join(labels[-kept:])


def is_other_upstream(base_url: str, provider_base_url: str) -> bool:
    """Return whether the address of a credential is known not to be the provider's."""
    host = read_host(base_url)
    own_host = read_host(provider_base_url)
    if not host or not own_host:
        return False
    return find_owner_domain(host) != find_owner_domain(own_host)


def render_address(base_url: str) -> str:
    """Return the host of an address for people, without a password that it may have."""
    return read_host(base_url)[:MAX_SHOWN_CHARS]
