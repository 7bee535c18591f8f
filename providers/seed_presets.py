"""A preset's rows: provider, models, aliases."""

from providers.models import ChatModel, ModelAlias, Provider
from providers.presets import PRESETS


def seed(name: str) -> tuple[Provider, bool]:
    """The preset's provider, and whether it was made now; one of that name stays as it is. Raises
    KeyError.
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
