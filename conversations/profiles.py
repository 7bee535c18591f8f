"""The configuration files of OpenKimi (config.json) and O1-API (config.yaml) -> a profile -> rows.

A profile says which upstream model is asked, where and with which key, and how answers are thought up over it. Keys of
the files: the two programs' published configuration. O1-API's file is flat, so a reader of `key: value` lines is all
the YAML it needs. No secret stands in a note or an error.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec
from django.db import transaction

from conversations import paths, steps
from providers import vault
from providers.models import ChatModel, Provider, VirtualModel
from tokens.importing import problem
from tokens.models import UpstreamToken

O1_KEYS = frozenset(
    (
        *("api_bearer_token", "model_provider_api_key", "default_api_url", "default_model"),
        *("stream_status_feedback", "use_regex_processing"),
    )
)
KIMI_KEYS = frozenset(("llm", "processor", "rag", "mpr_candidates", "mcp_candidates", "framework"))
# what of two sections is kept in the row's options, and of which type
PROCESSOR = {"batch_size": int, "overlap_size": int, "entropy_threshold": float, "entropy_method": str}
RAG = {"top_k": int}
MIDDLE = 0.5  # of the scale of densities (documents/density.py), in which half of a text is dense
METHODS = ("word", "ngram", "semantic", "structural", "weighted")
PLACEHOLDER = re.compile(
    r"your[-_ ]|x{4,}|\.\.\.|[<>]|change[-_ ]?me|example|placeholder|api[-_ ]?key\Z", re.IGNORECASE
)
SHORTEST = 8
LONGEST = 100_000_000  # tokens of a window
COMPLETIONS = "/chat/completions"
OPTIONS: dict[str, Any] = {"stepwise": steps.Options, "multipath": paths.Options}


class ProfileRefused(Exception):
    """The file cannot be taken over; the message says why in one line."""


@dataclass(slots=True)
class Profile:
    """What a file says. `kind` is the provider's adapter; `notes` are lines about what was not taken."""

    prefix: str
    strategy: str
    options: dict[str, Any]
    kind: str = "openai_compatible"
    url: str = ""
    model: str = ""
    secret: str = ""
    key_name: str = ""  # where in the file the secret stands
    window: int | None = None  # of the model, in tokens
    notes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Profile({self.strategy}, {self.model})"


# --- files -> profile -------------------------------------------------------------------------------------------------
def read(text: str, environ: Mapping[str, str]) -> Profile:
    """The profile of a file's text; OpenKimi takes key and address from the environment when the file has none.

    Raises ProfileRefused.
    """
    config = parsed(text.lstrip("\ufeff"))
    if "llm" in config or not O1_KEYS.intersection(config):
        if not KIMI_KEYS.intersection(config):
            raise ProfileRefused("This is neither a config.json of OpenKimi nor a config.yaml of O1-API.")
        profile = openkimi(config, environ)
        known = KIMI_KEYS
    else:
        profile, known = o1(config), O1_KEYS
    profile.notes += [f"{name}: not known, left out." for name in config if name not in known]
    try:
        msgspec.convert(profile.options, OPTIONS[profile.strategy])
    except msgspec.ValidationError as error:
        raise ProfileRefused(f"The file has a value that cannot be used: {error}.") from None
    return profile


def parsed(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return flat(text)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProfileRefused(f"The file is not valid JSON: {error}.") from None
    return dict(config)


def flat(text: str) -> dict[str, Any]:
    """`key: value` lines; booleans and quoted texts as YAML has them. Raises ProfileRefused on anything deeper."""
    found: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#") or line.strip() in ("---", "..."):
            continue
        match = re.fullmatch(r"([\w-]+)\s*:(?:\s+(.*))?", line.rstrip())
        if match is None:
            raise ProfileRefused(f"Line {number} is not of the form `key: value`.")
        found[match[1]] = scalar((match[2] or "").strip(), number)
    return found


def scalar(text: str, number: int) -> Any:
    if text[:1] in ('"', "'"):
        end = text.find(text[0], 1)
        if end < 0 or (text[end + 1 :].strip() and not text[end + 1 :].lstrip().startswith("#")):
            raise ProfileRefused(f"Line {number} has a quote that is not closed.")
        return text[1:end]
    text = re.sub(r"(?:\A|\s+)#.*", "", text)
    return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(text.lower(), text)


def o1(config: Mapping[str, Any]) -> Profile:
    """O1-API: steps over one model; Markdown, or HTML where the file turns `use_regex_processing` off."""
    for name in ("stream_status_feedback", "use_regex_processing"):
        if not isinstance(config.get(name, True), bool):
            raise ProfileRefused(f"{name} must be true or false.")
    options = {
        "feedback": config.get("stream_status_feedback", True),
        "format": "markdown" if config.get("use_regex_processing", True) else "details",
    }
    profile = Profile("o1-", "stepwise", options, key_name="model_provider_api_key")
    profile.url, profile.model = worded(config, "default_api_url"), worded(config, "default_model")
    profile.secret = worded(config, "model_provider_api_key")
    if config.get("api_bearer_token"):
        profile.notes.append("api_bearer_token: not taken; callers get keys of their own: manage.py issue_key USER.")
    return profile


def openkimi(config: Mapping[str, Any], environ: Mapping[str, str]) -> Profile:
    """OpenKimi: several paths over one model; with one candidate its plan and solution."""
    llm = section(config, "llm")
    count = config.get("mpr_candidates", config.get("mcp_candidates", 1))
    options: dict[str, Any] = {"candidates": count, "framework": True}
    profile = Profile("openkimi-", "multipath", options, key_name="llm.api_key")
    for name, kept in (("processor", PROCESSOR), ("rag", RAG)):
        given = section(config, name)
        values = {key: value for key, value in given.items() if key in kept}
        for key, value in values.items():
            kinds = (int, float) if kept[key] is float else (kept[key],)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise ProfileRefused(f"{name}.{key} must be of the type {kept[key].__name__}.")
        if values.get("entropy_method", METHODS[0]) not in METHODS:
            raise ProfileRefused(f"processor.entropy_method must be one of: {', '.join(METHODS)}.")
        if values.get("entropy_threshold", 0) > 1:
            bits, values["entropy_threshold"] = values["entropy_threshold"], MIDDLE
            profile.notes.append(f"{name}.entropy_threshold: {bits} bits; here scores go from 0 to 1: {MIDDLE} taken.")
        if values:
            options[name] = values
        profile.notes += [f"{name}.{key}: has no meaning here, left out." for key in given if key not in kept]
    if "framework" in config:
        profile.notes.append("framework: was never used, left out.")
    profile.window = tokens(llm, "context_length")
    kind = llm.get("type", "dummy")
    if kind not in ("dummy", "local", "api"):
        raise ProfileRefused("llm.type must be api, local or dummy.")
    if kind == "dummy":
        profile.kind, profile.model = "echo", "echo"
    elif kind == "local":
        profile.kind = "local"
    else:
        profile.model = worded(llm, "model_name") or "gpt-3.5-turbo"
        profile.url = worded(llm, "api_url") or environ.get("OPENAI_API_BASE", "")
        profile.secret = worded(llm, "api_key") or environ.get("OPENAI_API_KEY", "")
    return profile


def section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name) or {}
    if not isinstance(found, dict):
        raise ProfileRefused(f"{name} must be an object.")
    return found


def worded(config: Mapping[str, Any], name: str) -> str:
    found = config.get(name)
    if found is not None and not isinstance(found, str):
        raise ProfileRefused(f"{name} must be a text.")
    return (found or "").strip()


def tokens(config: Mapping[str, Any], name: str) -> int | None:
    found = config.get(name)
    if found is not None and (type(found) is not int or not 0 < found <= LONGEST):
        raise ProfileRefused(f"llm.{name} must be a number from 1 to {LONGEST}.")
    return found


# --- profile -> rows --------------------------------------------------------------------------------------------------
def adopt(profile: Profile, *, base: str = "", name: str = "", allow_private: bool = False) -> list[str]:
    """Make or change the rows, over the existing model `base` when one is named; returns what was done, in lines.

    Raises ProfileRefused, ValidationError; then nothing is written.
    """
    done: list[str] = []
    with transaction.atomic():
        if base:
            if not ChatModel.objects.filter(public_id=base).exists():
                raise ProfileRefused(f"There is no model {base!r} to stand upon (manage.py list_models).")
        else:
            provider, done = upstream(profile, allow_private)
            base = profile.model
            row, made = provider.models.get_or_create(public_id=base, defaults={"upstream_name": base})
            row.full_clean()
            done.append(f"Model {base}: {'added' if made else 'there already'}.")
            if profile.window and row.context_window is None:
                row.context_window = profile.window
                row.save()
                done.append(f"Model {base}: window of {profile.window} tokens.")
        public_id = name or profile.prefix + base
        virtual = VirtualModel.objects.filter(public_id=public_id).first() or VirtualModel(public_id=public_id)
        changed = virtual.pk is not None
        virtual.base, virtual.strategy, virtual.options = base, profile.strategy, profile.options
        virtual.full_clean()
        virtual.save()
        done.append(f"Model {public_id}: {profile.strategy} over {base}, {'changed' if changed else 'added'}.")
    return [*done, *profile.notes]


def upstream(profile: Profile, allow_private: bool) -> tuple[Provider, list[str]]:
    """The provider that the file names, found by its address or made, with its token."""
    if profile.kind == "local":
        raise ProfileRefused(
            "llm.type local: serve the model with vLLM, Ollama or llama.cpp, add it (add_provider), name it (--base)."
        )
    if profile.kind == "echo":
        found = Provider.objects.filter(kind="echo").first()
        provider = found or Provider(name="echo", kind="echo", needs_token=False)
        return saved(provider, "The offline provider")
    if not profile.url or not profile.model:
        raise ProfileRefused("The file names no address or no model of the upstream; name a model of here with --base.")
    url = profile.url.rstrip("/").removesuffix(COMPLETIONS)
    provider = Provider.objects.filter(base_url=url).first() or Provider(
        name=free_name(urlsplit(url).hostname or "upstream"), kind=profile.kind, base_url=url
    )
    if provider._state.adding:
        provider.allow_private, provider.needs_token = allow_private, bool(profile.secret) or not allow_private
    provider, done = saved(provider, f"Provider {provider.name}")
    return provider, done + token(provider, profile)


def saved(provider: Provider, title: str) -> tuple[Provider, list[str]]:
    if not provider._state.adding:
        return provider, [f"{title}: there already."]
    provider.full_clean()
    provider.save()
    return provider, [f"{title}: added."]


def free_name(host: str) -> str:
    """A provider's name for a host; numbered when it is taken."""
    plain = re.sub(r"[^a-z0-9.-]+", "-", host.lower()).strip("-.")[:50] or "upstream"
    taken = set(Provider.objects.values_list("name", flat=True))
    numbered = (plain if at == 1 else f"{plain}-{at}" for at in range(1, len(taken) + 2))
    return next(name for name in numbered if name not in taken)


def token(provider: Provider, profile: Profile) -> list[str]:
    """The file's key as the provider's token; refused when it is missing where one is needed, or plainly no key."""
    secret, where = profile.secret, profile.key_name
    if not secret:
        if provider.needs_token and not UpstreamToken.objects.filter(provider=provider).exists():
            raise ProfileRefused(f"{where} is missing, and {provider} asks for a key.")
        return []
    wrong = problem(secret) or ("is shorter than 8 characters" if len(secret) < SHORTEST else "")
    if wrong or PLACEHOLDER.search(secret):
        raise ProfileRefused(f"{where} {wrong or 'is a placeholder and no key'}.")
    if UpstreamToken.objects.filter(provider=provider, fingerprint=vault.fingerprint(secret)).exists():
        return [f"Token {vault.mask(secret)}: there already."]
    UpstreamToken.of(provider, secret).save()
    return [f"Token {vault.mask(secret)}: added."]
