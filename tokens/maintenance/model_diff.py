"""Compare a provider's models with its upstream's own list, and write the chosen differences.

A model that is not listed any more is switched off, never deleted: its settings, aliases and prices
stay. Lists name the context window under many names; where one is named it can be taken over.
"""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError

from providers.exceptions import NoAvailableToken, TokenError, UpstreamTimeout
from providers.models import ChatModel, Provider
from providers.network.clients import Clients
from providers.protocol.json_types import JsonObject
from providers.protocol.request import Credential
from providers.seed_presets import create_kind_aliases, find_known_fields
from providers.upstream.base_adapter import BaseAdapter
from providers.vault import VaultError
from tokens.maintenance.credential_check import CHECK_TIMEOUT_SECONDS
from tokens.models import UpstreamToken
from tokens.upstream_access import (
    build_maintenance_adapter,
    list_usable_tokens,
    open_token_credential,
)

# names of the context window in lists: OpenRouter and Moonshot, Groq, vLLM, Mistral, LM Studio,
# Gemini, Anthropic
WINDOW_FIELDS = (
    "context_length",
    "context_window",
    "max_model_len",
    "max_context_length",
    "inputTokenLimit",
    "max_input_tokens",
)
# of the longest answer: Gemini, Groq, Anthropic; OpenRouter has it in `top_provider`
OUTPUT_FIELDS = ("outputTokenLimit", "max_completion_tokens", "max_output_tokens", "max_tokens")
LARGEST_WINDOW = 2**31 - 1  # that the column can hold


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as the upstream lists it.

    `window` is its context window and `most_output` its longest answer in tokens, if given.
    """

    name: str
    window: int | None = None
    most_output: int | None = None

    def list_facts(self) -> JsonObject:
        """Return the columns of a row that the list says."""
        facts = {"context_window": self.window, "max_output_tokens": self.most_output}
        return {name: value for name, value in facts.items() if value}


@dataclass(frozen=True, slots=True)
class NewModel:
    """A listed model that the provider lacks, and the public id that it would have."""

    listed: ListedModel
    public_id: str


@dataclass(frozen=True, slots=True)
class ChangedModel:
    """A model whose context window or longest answer is another one in the upstream's list."""

    row: ChatModel
    listed: ListedModel

    @property
    def differences(self) -> list[tuple[int | None, int]]:
        """Return each fact that differs: what the row has, and what the list says."""
        return [
            (getattr(self.row, name), value)
            for name, value in self.listed.list_facts().items()
            if getattr(self.row, name) != value
        ]


@dataclass
class ModelDiff:
    """The differences between a provider's models and its upstream's list.

    `unusable` has listed names that no model may have, or whose public id is taken.
    """

    new: list[NewModel] = field(default_factory=list)
    gone: list[ChatModel] = field(default_factory=list)
    changed: list[ChangedModel] = field(default_factory=list)
    returned: list[ChatModel] = field(default_factory=list)  # switched off, but listed
    unusable: list[str] = field(default_factory=list)
    same: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """The differences that a person ticked: upstream names of new models, ids of the others."""

    new: Collection[str] = ()
    gone: Collection[int] = ()
    changed: Collection[int] = ()
    returned: Collection[int] = ()


# --- read the list --------------------------------------------------------------------------------
def read_listed_models(provider: Provider) -> list[ListedModel]:
    """Return the upstream's list, asked with one usable token after another.

    Raises GatewayError, VaultError of the last token.
    """
    return asyncio.run(_ask_with_tokens(provider, list_usable_tokens(provider)))


async def _ask_with_tokens(
    provider: Provider, tokens: Iterable[UpstreamToken | None]
) -> list[ListedModel]:
    try:
        async with Clients() as clients, asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            adapter = build_maintenance_adapter(provider, clients)
            return await _ask_with_each(adapter, tokens)
    except TimeoutError:
        raise UpstreamTimeout("The upstream took too long.") from None


async def _ask_with_each(
    adapter: BaseAdapter, tokens: Iterable[UpstreamToken | None]
) -> list[ListedModel]:
    """Return the list that the first accepted token gets. Raises the error of the last token."""
    problem: Exception = NoAvailableToken("It has no usable token.")
    for token in tokens:
        try:
            credential = open_token_credential(token) if token else Credential(None, "")
            return await _ask_for_list(adapter, credential)
        except (TokenError, VaultError) as error:
            problem = error
    raise problem


async def _ask_for_list(adapter: BaseAdapter, credential: Credential) -> list[ListedModel]:
    if not adapter.has_url or adapter.is_stream_only:
        names = await adapter.list_model_ids(credential)
        return [ListedModel(name) for name in dict.fromkeys(names)]
    entries = await adapter.list_model_entries(credential)
    by_id = {str(entry["id"]): entry for entry in entries}
    return [read_listed_model(name, by_id[name]) for name in sorted(by_id)]


def read_listed_model(name: str, entry: JsonObject) -> ListedModel:
    """Return what an entry of a list says of a model.

    OpenRouter's entries have the longest answer a level lower.
    """
    provider = entry.get("top_provider")
    most_output = find_number(entry, OUTPUT_FIELDS)
    if most_output is None and isinstance(provider, dict):
        most_output = find_number(provider, OUTPUT_FIELDS)
    return ListedModel(name, find_number(entry, WINDOW_FIELDS), most_output)


def find_number(entry: JsonObject, names: Iterable[str]) -> int | None:
    """Return the first of these fields that is a plausible number of tokens."""
    for name in names:
        value = entry.get(name)
        if isinstance(value, int) and 0 < value <= LARGEST_WINDOW:
            return value
    return None


# --- compare --------------------------------------------------------------------------------------
def compare_models(
    provider: Provider, listed: Iterable[ListedModel], prefix: str = ""
) -> ModelDiff:
    """Return the differences; public ids of new models begin with `prefix`."""
    rows: dict[str, list[ChatModel]] = {}
    for row in provider.models.all():
        rows.setdefault(row.upstream_name, []).append(row)
    public_ids = {row.public_id for same in rows.values() for row in same}
    diff = ModelDiff()
    by_name = {model.name: model for model in listed}
    for model in by_name.values():
        if model.name in rows:
            for row in rows[model.name]:
                compare_row(diff, row, model)
        elif is_usable(provider, new := NewModel(model, f"{prefix}{model.name}"), public_ids):
            diff.new.append(new)
        else:
            diff.unusable.append(model.name)
    for name in sorted(rows.keys() - by_name.keys()):
        diff.gone += [row for row in rows[name] if row.enabled]
    return diff


def compare_row(diff: ModelDiff, row: ChatModel, model: ListedModel) -> None:
    """Add a row that is listed to the differences."""
    if not row.enabled:
        diff.returned.append(row)
    elif (changed := ChangedModel(row, model)).differences:
        diff.changed.append(changed)
    else:
        diff.same += 1


def is_usable(provider: Provider, new: NewModel, public_ids: Collection[str]) -> bool:
    """Return whether a model of this name can be written."""
    row = ChatModel(provider=provider, public_id=new.public_id, upstream_name=new.listed.name)
    try:
        row.clean_fields()
    except ValidationError:
        return False
    return new.public_id not in public_ids


# --- write ----------------------------------------------------------------------------------------
def apply_choice(provider: Provider, diff: ModelDiff, choice: Choice) -> int:
    """Write the chosen differences, and return how many rows were written."""
    written = 0
    for new in diff.new:
        if new.listed.name in choice.new:
            create_model(provider, new)
            written += 1
    for changed in diff.changed:
        if changed.row.pk in choice.changed:
            rows = ChatModel.objects.filter(pk=changed.row.pk)
            written += rows.update(**changed.listed.list_facts())
    gone_ids = [row.pk for row in diff.gone if row.pk in choice.gone]
    written += ChatModel.objects.filter(pk__in=gone_ids).update(enabled=False)
    returned_ids = [row.pk for row in diff.returned if row.pk in choice.returned]
    written += ChatModel.objects.filter(pk__in=returned_ids).update(enabled=True)
    return written


def create_model(provider: Provider, new: NewModel) -> ChatModel:
    """Write a new model with the facts of presets and the list, and its kind's aliases."""
    known = find_known_fields(provider, new.public_id, new.listed.name)
    known["upstream_name"] = new.listed.name
    known |= new.listed.list_facts()
    row = ChatModel.objects.create(provider=provider, public_id=new.public_id, **known)
    create_kind_aliases(row)
    return row
