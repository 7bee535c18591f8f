"""The models that a caller may use, and their objects as /v1/models shows them.

An object has OpenAI's fields, this gateway's own, and those that clients of OpenRouter read.
Sources: OpenAI's API reference, "Models"; OpenRouter's documentation, "Models".
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from django.conf import settings

from api.authentication import Caller
from api.pricing.price_directory import PriceDirectory, read_directory
from api.pricing.price_rates import UNITS_PER_USD, PriceRates
from api.relay.gateway import Gateway
from providers.catalogue.catalogue_rows import read_catalogue_rows
from providers.catalogue.model_entries import ModelEntry, make_model_entries
from providers.choices import Capability
from providers.protocol.json_types import JsonObject

CHAT_PARAMETERS = (
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "response_format",
    "structured_outputs",
)
TOOL_PARAMETERS = ("tools", "tool_choice", "parallel_tool_calls")
REASONING_PARAMETERS = ("reasoning", "include_reasoning", "reasoning_effort")
# field of OpenRouter's prices -> attribute of Rates
PRICE_FIELDS = {
    "prompt": "prompt",
    "completion": "completion",
    "input_cache_read": "cached",
    "input_cache_write": "cache_write",
    "internal_reasoning": "reasoning",
}


def find_usable_models(caller: Caller, gateway: Gateway | None = None) -> dict[str, ModelEntry]:
    """Return the models, virtual models and aliases that the caller may use, sorted by id.

    With the gateway they come from memory, without one from the database.
    """
    if gateway is not None:
        entries: Mapping[str, ModelEntry] = gateway.catalogue.list_models(caller.provider)
    else:
        entries = make_model_entries(read_catalogue_rows(), caller.provider)
    return {
        name: entry
        for name, entry in entries.items()
        if caller.can_use_model(name, entry.public_id)
    }


def list_model_objects(caller: Caller, gateway: Gateway | None = None) -> dict[str, JsonObject]:
    """Return the objects of the models that the caller may use, by id, sorted."""
    prices = gateway.prices if gateway is not None else read_directory()
    now = datetime.now(UTC)
    return {
        name: render_model(entry, find_common_price(entry, prices, now))
        for name, entry in find_usable_models(caller, gateway).items()
    }


def render_model(entry: ModelEntry, price: PriceRates | None) -> JsonObject:
    """Return one model's object; facts that nobody has said are null."""
    fields: JsonObject = {
        "id": entry.id,
        "object": "model",
        "created": int(entry.created_at.timestamp()),
        "owned_by": entry.owner,
        "name": entry.id,
        "description": describe_model(entry),
        "canonical_slug": entry.public_id,
        "context_window": entry.context_window,
        "context_length": entry.context_window,
        "max_output_tokens": entry.max_output_tokens,
        "capabilities": list(entry.capabilities),
        "architecture": render_architecture(entry),
        "pricing": render_price(price),
        "top_provider": {
            "context_length": entry.context_window,
            "max_completion_tokens": entry.max_output_tokens,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": list_parameters(entry),
        "aliases": list(entry.aliases) if not entry.root else [],
    }
    if entry.strategy:
        fields["strategy"] = entry.strategy
    if entry.root:
        fields["root"] = entry.root
    return fields


def describe_model(entry: ModelEntry) -> str:
    """Return one sentence on who answers."""
    if entry.root:
        return f"Another name of {entry.root}."
    if entry.strategy:
        return f"Answered by the strategy {entry.strategy}, over models of {entry.owner}."
    return f"Answered by {entry.owner}."


def has_capability(entry: ModelEntry, capability: Capability) -> bool:
    """Return whether a model is known to have the capability, or nothing is known of it."""
    return not entry.capabilities or capability in entry.capabilities


def render_architecture(entry: ModelEntry) -> JsonObject:
    """Return the kinds of input and output of a model; to others files go as text."""
    inputs = ["text"]
    if has_capability(entry, Capability.VISION) and is_chat_model(entry):
        inputs.append("image")
    if Capability.FILES in entry.capabilities:
        inputs.append("file")
    outputs = ["text"] if is_chat_model(entry) else ["embeddings"]
    return {
        "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
        "input_modalities": inputs,
        "output_modalities": outputs,
        "tokenizer": "Other",
        "instruct_type": None,
    }


def is_chat_model(entry: ModelEntry) -> bool:
    """Return whether a model writes text, and does not only embed it."""
    return entry.capabilities != (Capability.EMBEDDINGS.value,)


def list_parameters(entry: ModelEntry) -> list[str]:
    """Return the fields of a chat body that mean something to the model."""
    if not has_capability(entry, Capability.CHAT):
        return []
    parameters = [*CHAT_PARAMETERS]
    if settings.TOOL_SUPPORT or has_capability(entry, Capability.TOOLS):
        parameters += TOOL_PARAMETERS
    if has_capability(entry, Capability.REASONING):
        parameters += REASONING_PARAMETERS
    return sorted(parameters)


# --- prices ---------------------------------------------------------------------------------------
def find_common_price(
    entry: ModelEntry, prices: PriceDirectory, now: datetime
) -> PriceRates | None:
    """Return the price in force of a model; None where providers of it differ or none is known."""
    all_prices = [
        prices.find_price(provider_id, name, now) for provider_id, name in entry.upstreams
    ]
    first = all_prices[0]
    if first is None or any(is_other_price(first, price) for price in all_prices):
        return None
    return first


def is_other_price(first: PriceRates, price: PriceRates | None) -> bool:
    """Return whether a price is missing or differs from the first one."""
    return price is None or (price.rates, price.request_units) != (first.rates, first.request_units)


def render_price(price: PriceRates | None) -> JsonObject | None:
    """Return the prices of one token of each kind and of a request, in USD, as texts."""
    if price is None:
        return None
    rates = {field: getattr(price.rates, name) for field, name in PRICE_FIELDS.items()}
    known = {field: render_usd(units) for field, units in rates.items() if units is not None}
    return known | {"request": render_usd(price.request_units or 0)}


def render_usd(units: int) -> str:
    """Return an amount in USD without needless zeros."""
    text = f"{Decimal(units) / UNITS_PER_USD:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
