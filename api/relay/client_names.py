"""The name of the program that sent a request, of its User-Agent header: for usage records."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from api.models.usage_record import BATCH_CLIENT

USER_AGENT = "HTTP_USER_AGENT"
READ_CHARS = 200  # of the header
REMEMBERED = 512  # headers whose names are remembered
OTHER_CLIENT = "other"
# the name that requests of the gateway itself have, in a key of META that no header can set
OWN_CLIENT = "proxysite.client"
# a part of the header in small letters -> the name; the first that is found counts
CLIENT_PARTS = (
    ("codex", "Codex"),
    ("claude-cli", "Claude Code"),
    ("claude-code", "Claude Code"),
    ("cursor", "Cursor"),
    ("open webui", "Open WebUI"),
    ("open-webui", "Open WebUI"),
    ("openwebui", "Open WebUI"),
    ("librechat", "LibreChat"),
    ("litellm", "LiteLLM"),
    ("opencode", "opencode"),
    ("roo-code", "Roo Code"),
    ("roocode", "Roo Code"),
    ("cline", "Cline"),
    ("aider", "aider"),
    ("zed/", "Zed"),
    ("geminicli", "Gemini CLI"),
    ("langchain", "LangChain"),
    ("ai-sdk", "AI SDK"),
    ("openai/python", "openai-python"),
    ("openai/js", "openai-node"),
    ("openai/go", "openai-go"),
    ("openai/java", "openai-java"),
    ("openai-dotnet", "openai-dotnet"),
    ("anthropic/python", "anthropic-python"),
    ("anthropic/js", "anthropic-node"),
    ("python-requests", "python-requests"),
    ("python-httpx", "python-httpx"),
    ("aiohttp", "aiohttp"),
    ("axios", "axios"),
    ("go-http-client", "Go"),
    ("okhttp", "okhttp"),
    ("postman", "Postman"),
    ("curl/", "curl"),
    ("mozilla/", "browser"),
    ("undici", "Node.js"),
    ("node", "Node.js"),
)
CLIENT_NAMES = (*dict.fromkeys(name for _, name in CLIENT_PARTS), BATCH_CLIENT)
PRODUCT = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,31}")


def name_client(meta: Mapping[str, Any]) -> str:
    """Return the short name of a request's program; empty without a User-Agent header.

    `meta` has the headers as Django names them.
    """
    user_agent = meta.get(USER_AGENT)
    return find_name(user_agent[:READ_CHARS]) if user_agent else meta.get(OWN_CLIENT, "")


@lru_cache(maxsize=REMEMBERED)
def find_name(user_agent: str) -> str:
    """Return the known name of a program, or else the first product that the header names."""
    lowered = user_agent.lower()
    for part, name in CLIENT_PARTS:
        if part in lowered:
            return name
    product = PRODUCT.fullmatch(user_agent.partition("/")[0].strip())
    if product is None or product[0].lower() == BATCH_CLIENT:
        return OTHER_CLIENT
    return product[0]
