"""Write the rows of a preset, and what presets know of models: provider, models, aliases."""

from collections.abc import Iterable

from providers.models import ChatModel, ModelAlias, Provider
from providers.presets import ALIASES_BY_KIND, PRESETS, make_aliases
from providers.protocol.json_types import JsonObject

GENERAL_KIND = "openai_compatible"  # its rows are different services, told apart by their address
# fields of a preset's model that do not hold for the same model in another row
OWN_FIELDS = frozenset(("public_id", "priority"))


def create_preset_rows(name: str) -> tuple[Provider, bool]:
    """Create the preset's provider with its models and aliases, unless one of that name exists.

    Returns the provider, and True when it was created now; an existing one is left unchanged.
    Raises KeyError when there is no such preset, ValidationError when its fields are not valid.
    """
    preset = PRESETS[name]
    defaults = {"kind": preset.kind, "base_url": preset.base_url, **preset.fields}
    provider, added = Provider.objects.get_or_create(name=name, defaults=defaults)
    if added:
        provider.full_clean()
        for fields in preset.models:
            ChatModel.objects.create(provider=provider, **fields)
        create_aliases(preset.aliases)
    return provider, added


def create_aliases(aliases: Iterable[JsonObject]) -> list[str]:
    """Create these aliases, and return the names of those that are new.

    One that exists, or that a model has as its own name, is left unchanged. Raises ValidationError.
    """
    created = []
    for fields in aliases:
        name = fields["alias"]
        if ModelAlias.objects.filter(alias=name).exists():
            continue
        if not ChatModel.objects.filter(public_id=name).exists():
            row = ModelAlias(**fields)
            row.full_clean()
            row.save()
            created.append(name)
    return created


def create_kind_aliases(model: ChatModel) -> list[str]:
    """Create the aliases that models of this kind of provider have, and return the new names."""
    settings_by_ending = ALIASES_BY_KIND.get(model.provider.kind, {})
    if model.public_id.endswith(tuple(f"-{ending}" for ending in settings_by_ending)):
        return []
    return create_aliases(make_aliases(settings_by_ending, model.public_id))


def find_known_fields(provider: Provider, public_id: str, upstream_name: str) -> JsonObject:
    """Return the fields that a preset has for this model of a provider; empty when none has it.

    `upstream_name` may be empty: then the public id alone decides, and the fields have the name.
    """
    known_models = [
        fields
        for preset in PRESETS.values()
        for fields in preset.models
        if preset.kind == provider.kind
        and (preset.kind != GENERAL_KIND or preset.base_url == provider.base_url)
    ]
    matching = [
        fields
        for fields in known_models
        if fields["public_id"] == public_id and upstream_name in ("", fields["upstream_name"])
    ] or [fields for fields in known_models if fields["upstream_name"] == upstream_name]
    if not matching:
        return {}
    return {name: value for name, value in matching[0].items() if name not in OWN_FIELDS}
