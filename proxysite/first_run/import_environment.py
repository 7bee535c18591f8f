"""Import the credentials of the K2Think and Kimi proxies from the environment into a new home.

Their keys become API keys of one ordinary user. Their tokens go to the provider that speaks the web
interface of their upstream. Anything that cannot be imported is reported in a line, and does not
keep the gateway from starting.
"""

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from api import keys
from providers import seed_presets
from providers.choices import Mode
from providers.models import Provider
from providers.network.address_guard import find_base_url_problem
from tokens.imports import token_import

# the owner of the imported keys: an ordinary user, as a shared key must open no staff endpoint
SHARED_USERNAME = "shared"
# anybody can read these defaults
PUBLISHED_KEYS = frozenset(("sk-default", "sk-false", "sk-k2think"))
SHORTEST_KEY_CHARS = 8
KIMI_PROVIDER = "kimi-web"
K2THINK_PROVIDER = "k2think-web"
K2THINK_VARIABLES = (
    "USER_API_URL",
    "GUEST_API_URL",
    "TOKENS_FILE",
    "USER_TOKENS_FILE",
    "PROXY_MODE",
    "VALID_API_KEY",
    "ACCOUNTS_FILE",
)


def import_credentials() -> list[str]:
    """Write the rows, and return a line for each that was made or refused, without any secret."""
    return [*import_api_keys(), *import_k2think(), *import_kimi_tokens()]


def import_api_keys() -> Iterator[str]:
    named_keys = [
        ("VALID_API_KEY", settings.VALID_API_KEY),
        *(("DEFAULT_AUTHKEYS", key) for key in settings.DEFAULT_AUTHKEYS),
    ]
    for name, key in named_keys:
        if not key:
            continue
        if problem := find_key_problem(key):
            yield f"{name}: not taken, {problem}."
            continue
        user, _ = get_user_model().objects.get_or_create(username=SHARED_USERNAME)
        keys.add_existing_key(user, key, name=name)
        yield f"{name}: taken as an API key of the user {SHARED_USERNAME!r}."


def find_key_problem(key: str) -> str:
    """Return why a key is refused, or an empty string; a key needs no particular format."""
    if key in PUBLISHED_KEYS:
        return f"{key!r} is a published default that anybody knows; choose another"
    if len(key) < SHORTEST_KEY_CHARS:
        return f"it is shorter than {SHORTEST_KEY_CHARS} characters"
    if not key.isascii() or not key.isprintable() or " " in key or "," in key:
        return "it has characters that no client can send as a key"
    return ""


def import_k2think() -> Iterator[str]:
    if not any(getattr(settings, name) for name in K2THINK_VARIABLES):
        return
    mode = settings.PROXY_MODE.lower() or Mode.GUEST
    if mode not in Mode.values:
        yield f"PROXY_MODE: {settings.PROXY_MODE!r} is neither guest nor user; guest is taken."
        mode = Mode.GUEST
    provider = seed_presets.create_preset_rows(K2THINK_PROVIDER)[0]
    provider.mode = mode
    url = (settings.USER_API_URL or settings.GUEST_API_URL).rstrip("/")
    provider.base_url = (
        url.removesuffix("/chat/completions").removesuffix("/guest") or provider.base_url
    )
    provider.allow_private = is_private_url(provider.base_url)
    try:
        provider.full_clean()
    except ValidationError as error:
        yield f"USER_API_URL: not taken, {' '.join(error.messages)}"
        provider.refresh_from_db()
        provider.mode = mode
    provider.save()
    yield f"The provider {K2THINK_PROVIDER} is there, in the mode {mode}."
    if provider.set_aside_reason:
        yield f"{K2THINK_PROVIDER} is not asked: {provider.set_aside_reason}"
    yield from import_credentials_file(
        provider, "USER_TOKENS_FILE" if settings.USER_TOKENS_FILE else "TOKENS_FILE"
    )
    yield from import_credentials_file(provider, "ACCOUNTS_FILE")


def is_private_url(url: str) -> bool:
    """Return whether the URL names an address on this machine or network.

    The operator chose it, so plain http is allowed there too.
    """
    https_url = url.replace("http://", "https://", 1)
    return (
        find_base_url_problem(url, True) is None
        and find_base_url_problem(https_url, False) is not None
    )


def import_credentials_file(provider: Provider, name: str) -> Iterator[str]:
    """Import the tokens or accounts of the file that the setting `name` names."""
    path = getattr(settings, name)
    if not path:
        return
    try:
        lines = token_import.decode_text_file(Path(path).read_bytes())
    except OSError as error:
        yield f"{name}: cannot read {path}: {error.strerror}."
    except token_import.UnreadableFile as error:
        yield f"{name}: {error}"
    else:
        yield import_token_lines(name, provider, lines)


def import_kimi_tokens() -> Iterator[str]:
    if settings.KIMI_TOKENS:
        yield import_token_lines(
            "KIMI_TOKENS", seed_presets.create_preset_rows(KIMI_PROVIDER)[0], settings.KIMI_TOKENS
        )


def import_token_lines(name: str, provider: Provider, lines: list[str]) -> str:
    counts = token_import.import_lines(provider, lines).verdict_counts
    malformed = ""
    if counts[token_import.MALFORMED]:
        malformed = f", {counts[token_import.MALFORMED]} malformed"
    return f"{name}: {counts[token_import.NEW]} imported for {provider}{malformed}."
