"""Set-up of clients, with this gateway's address and a model that the user may use filled in.

Sources, as of November 2026: the documentation of OpenAI's libraries; of Codex CLI (`config.toml`:
`model_providers`, `wire_api = "responses"`); of Claude Code (“LLM gateway”: ANTHROPIC_BASE_URL
without /v1, ANTHROPIC_AUTH_TOKEN, and the models that stand for its opus, sonnet and haiku); of
Open WebUI (OPENAI_API_BASE_URL, OPENAI_API_KEY); of Cursor (“Override OpenAI Base URL”, whose
requests come from Cursor's own servers).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from api import address_hints

KEY_PLACEHOLDER = "YOUR_API_KEY"
MODEL_PLACEHOLDER = "MODEL"
MESSAGES_PATH = "/v1/messages"


@dataclass(frozen=True, slots=True)
class Connection:
    """The values in the snippets. `origin` is the address of the gateway without /v1."""

    origin: str
    key: str
    model: str

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"


@dataclass(frozen=True, slots=True)
class Snippet:
    """One set-up: a person copies its `text`, and `note` has further advice."""

    slug: str
    title: Any
    text: str
    note: Any = ""


def render_curl(values: Connection) -> Snippet:
    body = json.dumps({"model": values.model, "messages": [{"role": "user", "content": "Hello"}]})
    text = (
        f"curl {values.base_url}/chat/completions \\\n"
        f'  -H "Authorization: Bearer {values.key}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {quote_for_shell(body)}"
    )
    return Snippet("curl", "curl", text)


def render_python(values: Connection) -> Snippet:
    text = f"""from openai import OpenAI  # pip install openai

client = OpenAI(base_url={quote(values.base_url)}, api_key={quote(values.key)})
answer = client.chat.completions.create(
    model={quote(values.model)},
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(answer.choices[0].message.content)"""
    return Snippet("python", "Python", text)


def render_node(values: Connection) -> Snippet:
    text = f"""import OpenAI from "openai"; // npm install openai

const client = new OpenAI({{ baseURL: {quote(values.base_url)}, apiKey: {quote(values.key)} }});
const answer = await client.chat.completions.create({{
  model: {quote(values.model)},
  messages: [{{ role: "user", content: "Hello" }}],
}});
console.log(answer.choices[0].message.content);"""
    return Snippet("node", "Node.js", text, _("Save it as a file with the ending .mjs."))


def render_codex(values: Connection) -> Snippet:
    text = f"""# ~/.codex/config.toml
model = {quote(values.model)}
model_provider = "proxysite"

[model_providers.proxysite]
name = "proxysite"
base_url = {quote(values.base_url)}
env_key = "PROXYSITE_API_KEY"
wire_api = "responses"

# then, in the shell:
# export PROXYSITE_API_KEY={values.key}
# codex"""
    return Snippet("codex", "Codex CLI", text)


def render_claude_code(values: Connection) -> Snippet:
    text = f"""export ANTHROPIC_BASE_URL={values.origin}
export ANTHROPIC_AUTH_TOKEN={values.key}
export ANTHROPIC_MODEL={quote_for_shell(values.model)}
export ANTHROPIC_DEFAULT_OPUS_MODEL={quote_for_shell(values.model)}
export ANTHROPIC_DEFAULT_SONNET_MODEL={quote_for_shell(values.model)}
export ANTHROPIC_DEFAULT_HAIKU_MODEL={quote_for_shell(values.model)}
claude"""
    return Snippet("claude-code", "Claude Code", text, _("Its base URL has no /v1 at its end."))


def render_open_webui(values: Connection) -> Snippet:
    text = f"""docker run -d -p 3000:8080 \\
  -e OPENAI_API_BASE_URL={values.base_url} \\
  -e OPENAI_API_KEY={values.key} \\
  -v open-webui:/app/backend/data \\
  --name open-webui --restart always ghcr.io/open-webui/open-webui:main"""
    note = _(
        "Where it runs already: Admin Panel, Settings, Connections, OpenAI API, with the same "
        "URL and key. In a container, localhost is the container itself."
    )
    return Snippet("open-webui", "Open WebUI", text, note)


def render_cursor(values: Connection) -> Snippet:
    text = f"""OpenAI API Key            {values.key}
Override OpenAI Base URL  {values.base_url}
Add Custom Model          {values.model}"""
    note = _(
        "Cursor Settings, Models, API Keys. Cursor's own servers send the requests, so the "
        "gateway must be reachable from the internet by https."
    )
    return Snippet("cursor", "Cursor", text, note)


RENDERERS: tuple[Callable[[Connection], Snippet], ...] = (
    render_curl,
    render_python,
    render_node,
    render_codex,
    render_claude_code,
    render_open_webui,
    render_cursor,
)


def list_snippets(values: Connection) -> list[Snippet]:
    """Return the set-ups of the clients that this gateway serves."""
    return [
        render(values)
        for render in RENDERERS
        if render is not render_claude_code or has_messages_endpoint()
    ]


def has_messages_endpoint() -> bool:
    """Return whether this gateway speaks Anthropic's API, which Claude Code needs."""
    return not address_hints.is_unknown_address(MESSAGES_PATH)


def quote(text: str) -> str:
    """Return a string literal for Python, JavaScript and TOML."""
    return json.dumps(text, ensure_ascii=False)


def quote_for_shell(text: str) -> str:
    escaped = text.replace("'", "'\\''")
    return f"'{escaped}'"
