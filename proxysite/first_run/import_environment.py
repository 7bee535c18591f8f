"""Import the credentials of the K2Think and Kimi proxies from the environment.

Their keys become API keys of one ordinary user. Their tokens go to the provider that speaks the web
interface of their upstream. It is done at each start: a value is imported once, so that a key or
token that a person deletes stays deleted; a value that is corrected or added later is imported
then. Anything that cannot be imported is reported in a line, and does not keep the gateway from
starting.
"""

from collections.abc import Iterator

from django.conf import settings

from api import shared_keys
from providers import seed_presets
from providers.models import Provider
from proxysite.first_run import environment_records, provider_settings
from tokens.imports import token_file, token_import

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
    "K2THINK_TOKEN",
)
SHOWN_FAULTS = 3  # malformed lines that are named one by one


def import_credentials() -> list[str]:
    """Write the rows, and return a line for each that was made or refused, without any secret.

    Lines about values that were imported before are left out.
    """
    return [*import_api_keys(), *import_k2think(), *import_kimi_tokens()]


# --- API keys -------------------------------------------------------------------------------------
def import_api_keys() -> Iterator[str]:
    named_keys = [
        ("VALID_API_KEY", settings.VALID_API_KEY),
        *(("DEFAULT_AUTHKEYS", key) for key in settings.DEFAULT_AUTHKEYS),
    ]
    for name, key in named_keys:
        if not key or environment_records.was_imported(name, key):
            continue
        if not shared_keys.find_shared_key_problem(key):
            environment_records.record_further_value(name, key)
        if line := shared_keys.add_shared_key(name, key):
            yield line


# --- K2-Think -------------------------------------------------------------------------------------
def import_k2think() -> Iterator[str]:
    if not any(getattr(settings, name) for name in K2THINK_VARIABLES):
        return
    provider = Provider.objects.filter(name=K2THINK_PROVIDER).first()
    if provider is None and environment_records.has_record("PROXY_MODE"):
        yield describe_deleted_provider(K2THINK_PROVIDER)
        return
    is_new = provider is None
    provider = provider or seed_presets.create_preset_rows(K2THINK_PROVIDER)[0]
    yield from provider_settings.apply_settings(provider, is_new=is_new)
    if is_new:
        yield f"The provider {K2THINK_PROVIDER} is there, in the mode {provider.mode}."
    if provider.set_aside_reason:
        yield f"{K2THINK_PROVIDER} is not asked: {provider.set_aside_reason}"
    yield from import_credentials_file(
        provider, "USER_TOKENS_FILE" if settings.USER_TOKENS_FILE else "TOKENS_FILE"
    )
    yield from import_credentials_file(provider, "ACCOUNTS_FILE")
    yield from import_credential_lines("K2THINK_TOKEN", provider, settings.K2THINK_TOKEN)


def describe_deleted_provider(name: str) -> str:
    return f"{name} was deleted, so nothing is imported for it: `seed_providers {name}` adds it."


def import_credentials_file(provider: Provider, name: str) -> Iterator[str]:
    """Import the tokens or accounts of the file that the setting `name` names."""
    path = getattr(settings, name)
    if not path:
        return
    try:
        lines = token_file.read_credentials_file(path)
    except OSError as error:
        yield f"{name}: cannot read {path}: {error.strerror}."
    except token_import.UnreadableFile as error:
        yield f"{name}: {error}"
    else:
        yield from import_credential_lines(name, provider, lines)


# --- Kimi -----------------------------------------------------------------------------------------
def import_kimi_tokens() -> Iterator[str]:
    if not settings.KIMI_TOKENS:
        return
    has_provider = Provider.objects.filter(name=KIMI_PROVIDER).exists()
    if not has_provider and environment_records.has_record("KIMI_TOKENS"):
        yield describe_deleted_provider(KIMI_PROVIDER)
        return
    provider = seed_presets.create_preset_rows(KIMI_PROVIDER)[0]
    yield from import_credential_lines("KIMI_TOKENS", provider, settings.KIMI_TOKENS)


# --- tokens and accounts --------------------------------------------------------------------------
def import_credential_lines(name: str, provider: Provider, lines: list[str]) -> Iterator[str]:
    """Import the lines of a variable or of its file, unless they were imported before.

    While a line is malformed they count as not imported, and are reported at each start.
    """
    value = "\n".join([str(provider), *lines])
    if not lines or environment_records.was_imported(name, value):
        return
    report = token_import.import_lines(provider, lines)
    counts = report.verdict_counts
    faults = [
        f"line {verdict.line} {verdict.reason}"
        for verdict in report.verdicts
        if verdict.verdict == token_import.MALFORMED
    ]
    if faults:
        environment_records.record_value(name, "")
    else:
        environment_records.record_value(name, value)
    parts = [f"{counts[token_import.NEW]} imported for {provider}"]
    parts += [
        f"{counts[verdict]} {verdict}"
        for verdict in (token_import.UPDATED, token_import.MALFORMED)
        if counts[verdict]
    ]
    line = f"{name}: {', '.join(parts)}"
    if faults:
        line += f" ({', '.join(faults[:SHOWN_FAULTS])}{', …' if faults[SHOWN_FAULTS:] else ''})"
    yield f"{line}."
