"""Write a profile (`profile_reader.py`) as rows: a virtual model, its model, provider and token.

No returned line and no error contains a secret.
"""

import re
from itertools import count
from urllib.parse import urlsplit

from django.db import transaction

from conversations.profiles.profile_reader import Profile, ProfileRefused
from providers import vault
from providers.models import ChatModel, Provider, VirtualModel
from tokens.imports.token_import import find_token_problem
from tokens.models import UpstreamToken

PLACEHOLDER = re.compile(
    r"your[-_ ]|x{4,}|\.\.\.|[<>]|change[-_ ]?me|example|placeholder|api[-_ ]?key\Z", re.IGNORECASE
)
LEAST_KEY_CHARS = 8
COMPLETIONS_PATH = "/chat/completions"


def save_profile_rows(
    profile: Profile, *, base: str = "", name: str = "", allow_private: bool = False
) -> list[str]:
    """Create or change the rows of a profile; return what was done, in lines.

    With `base`, the virtual model uses this existing model. `name` is the virtual model's, by
    default made of the base's. Raises ProfileRefused, ValidationError; then nothing is written.
    """
    if not (base + name).isprintable():
        raise ProfileRefused("A model's name has a character that cannot be printed.")
    public_id = find_public_id(profile, base=base, name=name)
    with transaction.atomic():
        if base:
            done: list[str] = []
            require_model(base)
        else:
            provider, done = find_or_create_provider(profile, allow_private)
            base = profile.model
            done += save_base_model(provider, profile)
        done.append(save_virtual_model(public_id, base, profile))
    return [*done, *profile.notes]


def find_public_id(profile: Profile, *, base: str = "", name: str = "") -> str:
    """Return the name of the virtual model of a profile."""
    return name or profile.prefix + (base or profile.model)


def require_model(public_id: str) -> None:
    """Raise ProfileRefused unless there is a model of this name."""
    if not ChatModel.objects.filter(public_id=public_id).exists():
        raise ProfileRefused(f"There is no model {public_id!r} here (manage.py list_models).")


def save_base_model(provider: Provider, profile: Profile) -> list[str]:
    """Create the upstream's model or complete its window; return what was done."""
    name = profile.model
    row = provider.models.filter(public_id=name).first()
    is_new = row is None
    if row is None:
        row = ChatModel(provider=provider, public_id=name, upstream_name=name)
    is_widened = bool(profile.window_tokens) and row.context_window is None
    if is_widened:
        row.context_window = profile.window_tokens
    if is_new or is_widened:
        row.full_clean()
        row.save()
    done = [f"Model {name}: {'added' if is_new else 'there already'}."]
    if is_widened:
        done.append(f"Model {name}: window of {profile.window_tokens} tokens.")
    return done


def save_virtual_model(public_id: str, base: str, profile: Profile) -> str:
    """Create or change the virtual model; return what was done."""
    row = VirtualModel.objects.filter(public_id=public_id).first()
    change = "changed" if row else "added"
    row = row or VirtualModel(public_id=public_id)
    row.base = base
    row.strategy = profile.strategy
    row.options = profile.options
    row.full_clean()
    row.save()
    return f"Model {public_id}: {profile.strategy} over {base}, {change}."


def find_or_create_provider(profile: Profile, allow_private: bool) -> tuple[Provider, list[str]]:
    """Find the provider of the profile by its address, or create it with its token.

    Returns the provider, and what was done. Raises ProfileRefused.
    """
    if profile.kind == "local":
        raise ProfileRefused(
            "llm.type local: serve the model with vLLM, Ollama or llama.cpp, add it "
            "(add_provider), name it (--base)."
        )
    if profile.kind == "echo":
        echo = Provider.objects.filter(kind="echo").first()
        echo = echo or Provider(name="echo", kind="echo", needs_token=False)
        return echo, save_new_provider(echo, "The offline provider")
    if not profile.url or not profile.model:
        raise ProfileRefused(
            "The file names no address or no model of the upstream; name a model of here with "
            "--base."
        )
    url = profile.url.rstrip("/").removesuffix(COMPLETIONS_PATH)
    provider = Provider.objects.filter(base_url=url).first()
    if provider is None:
        provider = Provider(name=free_name(host_of(url)), kind=profile.kind, base_url=url)
        provider.allow_private = allow_private
        provider.needs_token = bool(profile.secret) or not allow_private
    done = save_new_provider(provider, f"Provider {provider.name}")
    return provider, done + create_profile_token(provider, profile)


def host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or "upstream"
    except ValueError:
        raise ProfileRefused("The address of the upstream is no URL.") from None


def save_new_provider(provider: Provider, title: str) -> list[str]:
    """Save a provider that is not in the database yet; return what was done."""
    if not provider._state.adding:
        return [f"{title}: there already."]
    provider.full_clean()
    provider.save()
    return [f"{title}: added."]


def free_name(host: str) -> str:
    """Return a provider's name for a host, numbered when it is taken."""
    name = re.sub(r"[^a-z0-9.-]+", "-", host.lower()).strip("-.")[:50] or "upstream"
    taken = set(Provider.objects.values_list("name", flat=True))
    if name not in taken:
        return name
    numbered = (f"{name}-{number}" for number in count(2))
    return next(candidate for candidate in numbered if candidate not in taken)


def create_profile_token(provider: Provider, profile: Profile) -> list[str]:
    """Create the provider's token from the file's key; return what was done.

    Raises ProfileRefused when the key is missing and needed, or is clearly no key.
    """
    secret = profile.secret
    if not secret:
        has_token = UpstreamToken.objects.filter(provider=provider).exists()
        if provider.needs_token and not has_token:
            raise ProfileRefused(f"{profile.key_name} is missing, and {provider} asks for a key.")
        return []
    problem = find_key_problem(secret)
    if problem:
        raise ProfileRefused(f"{profile.key_name} {problem}.")
    fingerprint = vault.fingerprint_secret(secret)
    if UpstreamToken.objects.filter(provider=provider, fingerprint=fingerprint).exists():
        return [f"Token {vault.mask_secret(secret)}: there already."]
    UpstreamToken.from_secret(provider, secret).save()
    return [f"Token {vault.mask_secret(secret)}: added."]


def find_key_problem(secret: str) -> str:
    """Return why a text is clearly no key, as the end of a sentence, or an empty string."""
    problem = find_token_problem(secret)
    if problem:
        return problem
    if len(secret) < LEAST_KEY_CHARS:
        return f"is shorter than {LEAST_KEY_CHARS} characters"
    if PLACEHOLDER.search(secret):
        return "is a placeholder and no key"
    return ""
