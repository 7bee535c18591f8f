"""Write the rows of a preset: provider, models, aliases."""

from providers.models import ChatModel, ModelAlias, Provider
from providers.presets import PRESETS


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
        for alias in preset.aliases:
            ModelAlias.objects.get_or_create(alias=alias["alias"], defaults=alias)
    return provider, added
