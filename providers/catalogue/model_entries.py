"""The models that callers may name, with their facts, made of the rows that one reading returned.

The list of models and pages read these entries; requests are answered by candidates.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from providers import registry
from providers.catalogue.catalogue_rows import CatalogueRows
from providers.protocol.json_types import JsonObject


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One name that callers may write.

    The facts are those of the row that is tried first. `upstreams` are all rows of the public id:
    the id of the provider and its name of the model. `root` is the public id that an alias means,
    `strategy` how a virtual model answers; both are empty for other models.
    """

    id: str
    created_at: datetime
    owner: str  # name of the provider
    capabilities: tuple[str, ...]
    context_window: int | None
    max_output_tokens: int | None
    upstreams: tuple[tuple[int, str], ...]
    root: str = ""
    strategy: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def public_id(self) -> str:
        """Return the public id that the name means."""
        return self.root or self.id


def make_model_entries(rows: CatalogueRows, provider: str = "") -> dict[str, ModelEntry]:
    """Return all names by id, sorted: models, virtual models, aliases.

    Of equal names a model takes precedence, then a virtual model. With `provider`, only models of
    the provider of that name count.
    """
    entries = make_row_entries(
        row for row in rows.models if provider in ("", row["provider__name"])
    )
    virtual_entries = [
        replace(
            entries[row["base"]],
            id=row["public_id"],
            created_at=row["created_at"],
            strategy=row["strategy"],
        )
        for row in rows.virtuals
        if row["base"] in entries
    ]
    for entry in virtual_entries:
        entries.setdefault(entry.id, entry)
    aliases: dict[str, list[str]] = {}
    for alias, meaning in sorted(rows.aliases.items()):
        if meaning.public_id in entries and alias not in entries:
            aliases.setdefault(meaning.public_id, []).append(alias)
    alias_entries = [
        replace(entries[public_id], id=alias, root=public_id)
        for public_id, names in aliases.items()
        for alias in names
    ]
    for public_id, names in aliases.items():
        entries[public_id] = replace(entries[public_id], aliases=tuple(names))
    entries |= {entry.id: entry for entry in alias_entries}
    return {name: entries[name] for name in sorted(entries)}


def make_row_entries(rows: Iterable[JsonObject]) -> dict[str, ModelEntry]:
    """Return the entries of ChatModel rows, which come with the first candidate first."""
    entries: dict[str, ModelEntry] = {}
    for row in rows:
        upstream = (row["provider_id"], row["upstream_name"])
        first = entries.get(row["public_id"])
        if first is not None:
            entries[first.id] = replace(first, upstreams=(*first.upstreams, upstream))
            continue
        entries[row["public_id"]] = ModelEntry(
            id=row["public_id"],
            created_at=row["created_at"],
            owner=row["provider__name"],
            capabilities=find_known_capabilities(row),
            context_window=row["context_window"],
            max_output_tokens=row["max_output_tokens"],
            upstreams=(upstream,),
        )
    return entries


def find_known_capabilities(row: JsonObject) -> tuple[str, ...]:
    """Return the capabilities that the row names, or else those of its provider's kind."""
    kind = row["provider__kind"]
    if row["capabilities"] or kind not in registry.list_adapter_kinds():
        return tuple(row["capabilities"])
    return registry.get_adapter_class(kind).capabilities
