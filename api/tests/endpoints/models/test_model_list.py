"""GET /v1/models: OpenAI's fields, OpenRouter's, and our own, of what a key may use."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from api.models import Price
from api.views.model_catalogue import model_objects
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel
from proxysite.testing import rows, wait_until_true

BORN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def models(provider):
    """Return a function that makes models with facts: `m` with a price, an alias, a strategy."""

    def make():
        ChatModel.objects.filter(public_id="m").update(
            capabilities=["chat", "tools", "vision", "files", "reasoning"],
            context_window=1_048_576,
            max_output_tokens=65_536,
        )
        rows.create_model(provider, "e", "embedder", capabilities=["embeddings"])
        rows.create_alias("gpt-4o", "m")
        rows.create_virtual_model("o1", "m", "stepwise")
        Price.objects.create(
            provider=provider,
            upstream_model="upstream-model",
            valid_from=BORN,
            prompt_usd=Decimal("0.30"),
            cached_usd=Decimal("0.03"),
            completion_usd=Decimal("2.5"),
        )

    await run_in_thread(make)


async def list_models(gateway, key):
    answer = await gateway.send_request("GET", "/v1/models", key)
    assert answer.status == 200
    return {entry["id"]: entry for entry in answer.json["data"]}


async def test_a_model_has_the_fields_that_clients_read(models, gateway, alice):
    listed = await list_models(gateway, alice.key)
    assert list(listed) == ["e", "gpt-4o", "m", "o1"]
    m = listed["m"]
    created = m.pop("created")
    assert abs(datetime.now(UTC).timestamp() - created) < 600
    parameters = m.pop("supported_parameters")
    assert {"tools", "reasoning_effort", "max_tokens", "response_format"} <= set(parameters)
    assert m == {
        "id": "m",
        "object": "model",
        "owned_by": "fake",
        "name": "m",
        "description": "Answered by fake.",
        "canonical_slug": "m",
        "context_window": 1_048_576,
        "context_length": 1_048_576,
        "max_output_tokens": 65_536,
        "capabilities": ["chat", "tools", "vision", "files", "reasoning"],
        "architecture": {
            "modality": "text+image+file->text",
            "input_modalities": ["text", "image", "file"],
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": {
            "prompt": "0.0000003",
            "completion": "0.0000025",
            "input_cache_read": "0.00000003",
            "input_cache_write": "0.0000003",
            "internal_reasoning": "0.0000025",
            "request": "0",
        },
        "top_provider": {
            "context_length": 1_048_576,
            "max_completion_tokens": 65_536,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "aliases": ["gpt-4o"],
    }


async def test_aliases_strategies_and_embedders_say_what_they_are(models, gateway, alice):
    listed = await list_models(gateway, alice.key)
    alias, virtual, embedder = listed["gpt-4o"], listed["o1"], listed["e"]
    assert (alias["root"], alias["aliases"], alias["context_length"]) == ("m", [], 1_048_576)
    assert alias["pricing"]["prompt"] == "0.0000003"
    assert virtual["strategy"] == "stepwise"
    assert embedder["architecture"]["modality"] == "text->embeddings"
    assert embedder["supported_parameters"] == []
    assert embedder["pricing"] is None
    one = await gateway.send_request("GET", "/v1/models/gpt-4o", alice.key)
    assert one.json == alias


async def test_providers_with_other_prices_leave_the_price_open(models, gateway, alice, upstream):
    def make():
        other = rows.create_provider(upstream.url, "other", models=["m"])
        Price.objects.create(
            provider=other, upstream_model="upstream-model", valid_from=BORN, prompt_usd=1
        )

    await run_in_thread(make)
    await gateway.reload_rows()
    assert (await list_models(gateway, alice.key))["m"]["pricing"] is None


async def test_the_list_takes_no_query_of_models(models, gateway, alice, monkeypatch):
    def fail():
        raise AssertionError("the database was asked")

    monkeypatch.setattr(model_objects, "read_catalogue_rows", fail)
    monkeypatch.setattr(model_objects, "read_directory", fail)
    assert "m" in await list_models(gateway, alice.key)


async def test_a_new_model_is_listed_within_a_second(gateway, alice, provider):
    assert list(await list_models(gateway, alice.key)) == ["m"]
    await run_in_thread(rows.create_model, provider, "new")
    await wait_until_true(lambda: "new" in gateway.inner.catalogue.list_models())
    assert list(await list_models(gateway, alice.key)) == ["m", "new"]
