"""What a key may ask for: models, aliases, and fields that choose others at the upstream."""

from itertools import product

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, ModelAlias, Provider
from proxysite.testing import rows, wait_until_true
from proxysite.testing.gateway import HELLO

PROMISED_SECONDS = 1.0  # in which a revoked key or a disabled token stops working


# --- models ---------------------------------------------------------------------------------------
async def test_a_key_may_use_only_the_models_it_names(gateway, upstream, provider):
    await run_in_thread(rows.create_model, provider, "n")
    await run_in_thread(rows.create_alias, "other-name", "n")
    await gateway.reload_rows()
    bob = await run_in_thread(rows.create_person, "bob", models=["m"])
    assert (await gateway.request_chat(bob.key, model="m")).status == 200
    for name in ("n", "other-name"):
        answer = await gateway.request_chat(bob.key, model=name)
        assert answer.status == 403
        assert answer.error["type"] == "permission_error"
        assert answer.error["param"] == "model"
    assert len(upstream.requests) == 1
    listed = await gateway.send_request("GET", "/v1/models", bob.key)
    assert [entry["id"] for entry in listed.json["data"]] == ["m"]
    assert (await gateway.send_request("GET", "/v1/models/n", bob.key)).status == 404


async def test_an_unknown_model_is_a_404_that_names_the_field(gateway, upstream, alice):
    for model in ("nothing", "M", "m ", "../m", "m%2f", "m\n"):
        answer = await gateway.request_chat(alice.key, model=model)
        assert answer.status == 404, model
        assert answer.error["type"] == "invalid_request_error"
        assert (answer.error["code"], answer.error["param"]) == ("model_not_found", "model")
    assert upstream.requests == []
    assert await rows.read_usage_records() == []


async def test_an_alias_leads_to_its_model(gateway, upstream, alice):
    await run_in_thread(rows.create_alias, "gpt-4o", "m")
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key, model="gpt-4o")
    assert answer.status == 200
    assert answer.json["model"] == "gpt-4o"
    assert upstream.requests[0].json["model"] == "upstream-model"


async def test_a_key_limited_to_an_alias_may_use_it(gateway, upstream, alice):
    await run_in_thread(rows.create_alias, "gpt-4o", "m")
    await gateway.reload_rows()
    bob = await run_in_thread(rows.create_person, "bob", models=["gpt-4o"])
    assert (await gateway.request_chat(bob.key, model="gpt-4o")).status == 200
    assert (await gateway.request_chat(bob.key, model="m")).status == 403
    listed = await gateway.send_request("GET", "/v1/models", bob.key)
    assert [entry["id"] for entry in listed.json["data"]] == ["gpt-4o"]
    assert (await gateway.send_request("GET", "/v1/models/gpt-4o", bob.key)).status == 200


async def test_models_are_listed_in_openais_form(gateway, upstream, alice, provider):
    await run_in_thread(rows.create_model, provider, "vendor/long name?".replace(" ", "-"))
    await gateway.reload_rows()
    answer = await gateway.send_request("GET", "/v1/models", alice.key)
    assert answer.status == 200
    assert answer.json["object"] == "list"
    assert [entry["id"] for entry in answer.json["data"]] == ["m", "vendor/long-name?"]
    for entry in answer.json["data"]:
        assert entry["object"] == "model"
        assert isinstance(entry["created"], int)
        assert entry["owned_by"]
    one = await gateway.send_request("GET", "/v1/models/vendor%2Flong-name%3F", alice.key)
    assert one.json == answer.json["data"][1]
    missing = await gateway.send_request("GET", "/v1/models/nothing", alice.key)
    assert missing.status == 404
    assert missing.error["code"] == "model_not_found"
    assert upstream.requests == []


async def test_answers_about_models_have_the_headers_of_all_others(gateway, alice):
    for path in ("/v1/models", "/v1/models/m"):
        answer = await gateway.send_request("GET", path, alice.key)
        assert answer.headers["x-request-id"].startswith("req_")
        assert "no-store" in answer.headers["cache-control"]
        assert "authorization" in answer.headers["vary"].lower()


@pytest.mark.parametrize("what", ["model", "provider", "alias"])
async def test_what_is_switched_off_is_gone_within_a_second(
    gateway, upstream, alice, provider, what
):
    await run_in_thread(rows.create_alias, "nick", "m")
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key, model="nick")).status == 200
    change = {
        "model": lambda: ChatModel.objects.update(enabled=False),
        "provider": lambda: Provider.objects.update(enabled=False),
        "alias": lambda: ModelAlias.objects.all().delete(),
    }
    await run_in_thread(change[what])

    async def gone():
        return (await gateway.request_chat(alice.key, model="nick")).status == 404

    await wait_until_true(gone, PROMISED_SECONDS)
    listed = (await gateway.send_request("GET", "/v1/models", alice.key)).json["data"]
    assert [entry["id"] for entry in listed] == (["m"] if what == "alias" else [])


async def test_a_new_model_answers_within_a_second(gateway, upstream, alice, provider):
    assert (await gateway.request_chat(alice.key, model="new")).status == 404
    await run_in_thread(rows.create_model, provider, "new")

    async def there():
        return (await gateway.request_chat(alice.key, model="new")).status == 200

    await wait_until_true(there, PROMISED_SECONDS)


# --- browsers -------------------------------------------------------------------------------------
ROUTING_FIELDS = {
    "models": ["other/model"],
    "provider": {"order": ["elsewhere"]},
    "route": "fallback",
    "plugins": [{"id": "auto-router"}],
    "transforms": ["middle-out"],
    "preset": "mine",
    "fallbacks": ["other/model"],
    "providerOptions": {"gateway": {"models": ["other/model"]}},
}
PROMPTS = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/completions": {"prompt": "Hello!"},
    "/v1/embeddings": {"input": "Hello!"},
    "/v1/responses": {"input": "Hello!"},
}


async def test_a_key_that_is_limited_to_models_cannot_choose_others_at_the_upstream(
    gateway, upstream, subtests
):
    bob = await run_in_thread(rows.create_person, "bob", models=["m"])
    for path, field in product(PROMPTS, ROUTING_FIELDS):
        with subtests.test(path=path, field=field):
            body = {"model": "m", field: ROUTING_FIELDS[field]} | PROMPTS[path]
            answer = await gateway.send_request("POST", path, bob.key, json=body)
            assert (answer.status, answer.error["param"]) == (400, field)
            assert answer.error["code"] == "unsupported_parameter"
            assert upstream.requests == []


@pytest.mark.parametrize("field", ROUTING_FIELDS)
async def test_a_key_for_all_models_may_route_at_the_upstream(gateway, upstream, alice, field):
    assert (await gateway.request_chat(alice.key, **{field: ROUTING_FIELDS[field]})).status == 200
    assert upstream.requests[0].json[field] == ROUTING_FIELDS[field]
