"""Ready commands that send a first request with an API key."""

from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from api import keys
from api.limits.access import matches_any
from api.models import ApiKey
from providers.models import ChatModel

PLACEHOLDER_MODEL = "MODEL"
QUESTION = "Say hello."


@dataclass(frozen=True, slots=True)
class Snippet:
    """A text to copy, and the program that it is for."""

    id: str
    name: str
    text: str


def find_usable_model(row: ApiKey) -> str:
    """Return a model that the key may use: its default one, else the first that is enabled."""
    if row.default_model:
        return row.default_model
    enabled = ChatModel.objects.filter(enabled=True, provider__enabled=True)
    names = sorted(enabled.values_list("public_id", flat=True).distinct())
    allowed = tuple(row.allowed_models)
    usable = [name for name in names if not allowed or matches_any(allowed, name)]
    if usable:
        return usable[0]
    others = [name for name in row.allowed_models if keys.WILDCARD not in name]
    return others[0] if others else PLACEHOLDER_MODEL


def make_snippets(base_url: str, key: str, model: str) -> list[Snippet]:
    """Return the texts for curl, Python and Node; each runs as it is."""
    return [
        Snippet("curl", "curl", render_curl(base_url, key, model)),
        Snippet("python", "Python", render_python(base_url, key, model)),
        Snippet("node", "Node", render_node(base_url, key, model)),
        Snippet("environment", str(_("Environment")), render_environment(base_url, key)),
    ]


def quote_shell(text: str) -> str:
    """Return a text within single quotes for a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def render_curl(base_url: str, key: str, model: str) -> str:
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "{QUESTION}"}}]}}'
    return (
        f"curl {quote_shell(f'{base_url}/chat/completions')} \\\n"
        f"  -H {quote_shell(f'Authorization: Bearer {key}')} \\\n"
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d {quote_shell(body)}"
    )


def render_python(base_url: str, key: str, model: str) -> str:
    return (
        "from openai import OpenAI  # pip install openai\n\n"
        f'client = OpenAI(base_url="{base_url}", api_key="{key}")\n'
        "answer = client.chat.completions.create(\n"
        f'    model="{model}",\n'
        f'    messages=[{{"role": "user", "content": "{QUESTION}"}}],\n'
        ")\n"
        "print(answer.choices[0].message.content)"
    )


def render_node(base_url: str, key: str, model: str) -> str:
    return (
        'import OpenAI from "openai"; // npm install openai; save as hello.mjs\n\n'
        f'const client = new OpenAI({{ baseURL: "{base_url}", apiKey: "{key}" }});\n'
        "const answer = await client.chat.completions.create({\n"
        f'  model: "{model}",\n'
        f'  messages: [{{ role: "user", content: "{QUESTION}" }}],\n'
        "});\n"
        "console.log(answer.choices[0].message.content);"
    )


def render_environment(base_url: str, key: str) -> str:
    return f"export OPENAI_BASE_URL={base_url}\nexport OPENAI_API_KEY={key}"
