"""Write a profile (`profile_reader.py`) as rows: a virtual model, its model, provider and token.

No returned line and no error contains a secret.
"""

import re
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

    With `base`, the virtual model uses this existing model. Raises ProfileRefused, ValidationError;
    then nothing is written.
    """
    done: list[str] = []
    if not (base + name).isprintable():
        raise ProfileRefused("A model's name has a character that cannot be printed.")
    with transaction.atomic():
        if base:
            if not ChatModel.objects.filter(public_id=base).exists():
                raise ProfileRefused(
                    f"There is no model {base!r} to stand upon (manage.py list_models)."
                )
        else:
            provider, done = find_or_create_provider(profile, allow_private)
            base = profile.model
            row = provider.models.filter(public_id=base).first()
            done.append(f"Model {base}: {'there already' if row else 'added'}.")
            row = row or ChatModel(provider=provider, public_id=base, upstream_name=base)
            widened = bool(profile.window_tokens and row.context_window is None)
            if widened:
                row.context_window = profile.window_tokens
            if widened or row._state.adding:
                row.full_clean()
                row.save()
            if widened:
                done.append(f"Model {base}: window of {profile.window_tokens} tokens.")
        public_id = name or profile.prefix + base
        virtual = VirtualModel.objects.filter(public_id=public_id).first() or VirtualModel(
            public_id=public_id
        )
        changed = virtual.pk is not None
        virtual.base = base
        virtual.strategy = profile.strategy
        virtual.options = profile.options
        virtual.full_clean()
        virtual.save()
        done.append(
            f"Model {public_id}: {profile.strategy} over {base}, "
            f"{'changed' if changed else 'added'}."
        )
    return [*done, *profile.notes]


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
        found = Provider.objects.filter(kind="echo").first()
        provider = found or Provider(name="echo", kind="echo", needs_token=False)
        return save_new_provider(provider, "The offline provider")
    if not profile.url or not profile.model:
        raise ProfileRefused(
            "The file names no address or no model of the upstream; name a model of here with "
            "--base."
        )
    url = profile.url.rstrip("/").removesuffix(COMPLETIONS_PATH)
    provider = Provider.objects.filter(base_url=url).first() or Provider(
        name=free_name(host_of(url)), kind=profile.kind, base_url=url
    )
    if provider._state.adding:
        provider.allow_private, provider.needs_token = (
            allow_private,
            bool(profile.secret) or not allow_private,
        )
    provider, done = save_new_provider(provider, f"Provider {provider.name}")
    return provider, done + create_profile_token(provider, profile)


def host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or "upstream"
    except ValueError:
        raise ProfileRefused("The address of the upstream is no URL.") from None


def save_new_provider(provider: Provider, title: str) -> tuple[Provider, list[str]]:
    if not provider._state.adding:
        return provider, [f"{title}: there already."]
    provider.full_clean()
    provider.save()
    return provider, [f"{title}: added."]


def free_name(host: str) -> str:
    """Return a provider's name for a host, numbered when it is taken."""
    plain = re.sub(r"[^a-z0-9.-]+", "-", host.lower()).strip("-.")[:50] or "upstream"
    taken = set(Provider.objects.values_list("name", flat=True))
    numbered = (plain if at == 1 else f"{plain}-{at}" for at in range(1, len(taken) + 2))
    return next(name for name in numbered if name not in taken)


def create_profile_token(provider: Provider, profile: Profile) -> list[str]:
    """Create the provider's token from the file's key; return what was done.

    Raises ProfileRefused when the key is missing and needed, or is clearly no key.
    """
    secret = profile.secret
    where = profile.key_name
    if not secret:
        if provider.needs_token and not UpstreamToken.objects.filter(provider=provider).exists():
            raise ProfileRefused(f"{where} is missing, and {provider} asks for a key.")
        return []
    wrong = find_token_problem(secret) or (
        "is shorter than 8 characters" if len(secret) < LEAST_KEY_CHARS else ""
    )
    if wrong or PLACEHOLDER.search(secret):
        raise ProfileRefused(f"{where} {wrong or 'is a placeholder and no key'}.")
    if UpstreamToken.objects.filter(
        provider=provider, fingerprint=vault.fingerprint_secret(secret)
    ).exists():
        return [f"Token {vault.mask_secret(secret)}: there already."]
    UpstreamToken.from_secret(provider, secret).save()
    return [f"Token {vault.mask_secret(secret)}: added."]
