"""Decide which columns of a provider the findings about its upstream ask to change."""

from collections.abc import Iterable

from providers import registry
from providers.choices import ThinkingFormat
from providers.dialects import find_dialect
from providers.dialects.profiles import UNKNOWN, find_profile
from providers.models import Provider
from providers.protocol.dialect import Dialect
from providers.protocol.json_types import JsonObject
from tokens.dialect_probe.finding import Finding


def propose_columns(provider: Provider, model_name: str, findings: Iterable[Finding]) -> JsonObject:
    """Return new values for columns of the provider; empty when the row fits its upstream.

    What its profile and its present changes say already is not proposed again. A web site that is
    only streamed, and an upstream with a dialect of its own, have an adapter that knows it, so
    nothing is proposed.
    """
    adapter_class = registry.get_adapter_class(provider.kind)
    if adapter_class.is_stream_only or adapter_class.has_own_dialect:
        return {}
    findings = list(findings)
    found_fields: JsonObject = {}
    for finding in findings:
        found_fields |= finding.fields
    columns: JsonObject = {}
    profile_name = provider.dialect or adapter_class.profile_name
    if find_profile(profile_name, provider.base_url) is UNKNOWN:
        names = [finding.dialect for finding in findings if finding.dialect]
        if names:
            columns["dialect"] = profile_name = names[0]
    dialect = find_dialect(profile_name, provider.base_url, model_name, provider.dialect_changes)
    has_native_tools = provider.native_tools and dialect.native_tools
    if not found_fields.pop("native_tools", True) and has_native_tools:
        columns["native_tools"] = False
    if has_own_format(provider, model_name):
        found_fields.pop("thinking_format", None)
    if not provider.reports_usage:
        found_fields.pop("takes_stream_options", None)
    changes = find_changes(dialect, found_fields)
    if changes:
        columns["dialect_changes"] = provider.dialect_changes | changes
    return columns


def has_own_format(provider: Provider, model_name: str) -> bool:
    """Return whether the model's row says already where its thinking is in the text."""
    rows = provider.models.filter(upstream_name=model_name)
    return rows.exclude(thinking_format=ThinkingFormat.SEPARATE).exists()


def find_changes(dialect: Dialect, found_fields: JsonObject) -> JsonObject:
    """Return the fields in which the upstream differs from its dialect, as JSON."""
    changes = {
        name: value for name, value in found_fields.items() if getattr(dialect, name) != value
    }
    if "refused_fields" in changes:
        refused = dialect.refused_fields.union(changes.pop("refused_fields"))
        if refused != dialect.refused_fields:
            changes["refused_fields"] = sorted(refused)
    # a dialect that knows a name, or that thinking must not go back, is believed
    if changes.get("thinking_field") and dialect.thinking_field is not None:
        del changes["thinking_field"]
    if dialect.thinking_format:
        changes.pop("thinking_format", None)
    return changes
