"""Examine a provider's upstream: ask all questions, and gather the findings."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from providers.exceptions import NoAvailableToken, TokenError, UpstreamError
from providers.models import Provider
from providers.network.clients import Clients
from providers.protocol.json_types import JsonObject
from providers.protocol.request import Credential
from providers.upstream.base_adapter import BaseAdapter
from providers.vault import VaultError
from tokens.dialect_probe import answer_probes, field_probes
from tokens.dialect_probe.finding import Finding
from tokens.dialect_probe.prober import MOST_ANSWER_TOKENS, Prober, build_probing_adapter
from tokens.dialect_probe.proposal import propose_columns
from tokens.models import UpstreamToken
from tokens.upstream_access import list_usable_tokens, open_token_credential

Probe = Callable[[Prober], Awaitable[Finding]]
# for upstreams that speak OpenAI's dialect; the others take what their adapters send
DIALECT_PROBES: dict[str, Probe] = {
    "role developer": field_probes.probe_developer,
    "names of messages": field_probes.probe_names,
    "stream_options": field_probes.probe_stream,
    "other fields": field_probes.probe_fields,
    "tools": answer_probes.probe_tools,
    "earlier calls": answer_probes.probe_tool_turns,
    "earlier thinking": answer_probes.probe_returned_thinking,
}
ANSWER_PROBES: dict[str, Probe] = {
    "usage": field_probes.probe_usage,
    "thinking": answer_probes.probe_thinking,
}
# `owned_by` in the model lists of servers that people run themselves
DIALECT_BY_OWNER = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llama.cpp",
    "library": "ollama",
    "organization_owner": "lmstudio",
}


@dataclass(frozen=True, slots=True)
class Examination:
    """The findings about an upstream, and new values for columns of its provider."""

    model_name: str
    findings: list[Finding]
    columns: JsonObject


def describe_costs(model_name: str) -> str:
    """Return how much an examination asks, for the person who starts it."""
    text = _(
        "About %(count)d questions to %(model)s, each with an answer of at most %(most)d tokens; "
        "some more where fields are refused."
    )
    count = len(DIALECT_PROBES) + 5
    return text % {"count": count, "model": model_name, "most": MOST_ANSWER_TOKENS}


def find_model_name(provider: Provider, wanted: str | None) -> str:
    """Return the upstream's name of the model to ask: the wanted one, or the provider's first.

    `wanted` may be a public id or the upstream's own name. Empty when the provider has no model.
    """
    models = provider.models.all()
    if wanted is not None:
        row = models.filter(public_id=wanted).first()
        return row.upstream_name if row else wanted
    row = models.filter(enabled=True).first()
    return row.upstream_name if row else ""


def examine_upstream(provider: Provider, model_name: str) -> Examination:
    """Ask the upstream all questions. Raises GatewayError, VaultError."""
    tokens = list_usable_tokens(provider)
    findings = asyncio.run(ask_all(provider, model_name, tokens))
    return Examination(model_name, findings, propose_columns(provider, model_name, findings))


async def ask_all(
    provider: Provider, model_name: str, tokens: list[UpstreamToken | None]
) -> list[Finding]:
    """Ask with the first token that the upstream accepts. Raises GatewayError, VaultError."""
    async with Clients() as clients:
        adapter = build_probing_adapter(provider, clients)
        prober, limit_finding = await begin_with_each(adapter, model_name, tokens)
        findings = [await find_listed_models(adapter, prober), limit_finding]
        probes = dict(ANSWER_PROBES)
        if not (adapter.is_stream_only or adapter.has_own_dialect):
            probes |= DIALECT_PROBES
        for subject, probe in probes.items():
            try:
                findings.append(await probe(prober))
            except UpstreamError as error:
                findings.append(Finding(subject, f"not found out: {error}"))
    return findings


async def begin_with_each(
    adapter: BaseAdapter, model_name: str, tokens: list[UpstreamToken | None]
) -> tuple[Prober, Finding]:
    """Ask the first question with one token after another, until one is accepted.

    Returns the prober of that token, and the first finding. Raises the last token's error.
    """
    problem: Exception = NoAvailableToken("It has no usable token.")
    for token in tokens:
        try:
            credential = open_token_credential(token) if token else Credential(None, "")
            prober = Prober(adapter, credential, model_name)
            return prober, await field_probes.probe_limits(prober)
        except (TokenError, VaultError) as error:
            problem = error
    raise problem


async def find_listed_models(adapter: BaseAdapter, prober: Prober) -> Finding:
    """Find out how many models the upstream lists, and which server it is by that list."""
    entries: object = None
    try:
        listed = await adapter.list_model_ids(prober.credential)
        if adapter.has_url and not (adapter.is_stream_only or adapter.has_own_dialect):
            entries = await adapter.fetch_json("GET", "models", prober.credential)
    except UpstreamError as error:
        return Finding("models", f"not listed: {error}")
    presence = "among them" if prober.model_name in listed else "not among them"
    result = f"{len(listed)} listed, {prober.model_name} {presence}"
    return Finding("models", result, dialect=recognize_server(entries))


def recognize_server(entries: object) -> str:
    """Return the profile of the server that has this list of models; empty when unknown."""
    if isinstance(entries, dict):
        entries = entries.get("data")
    if not isinstance(entries, list):
        return ""
    owners = {str(entry.get("owned_by")) for entry in entries if isinstance(entry, dict)}
    names = {DIALECT_BY_OWNER[owner] for owner in owners if owner in DIALECT_BY_OWNER}
    return names.pop() if len(names) == 1 else ""
