"""Who may ask for what: keys, models, aliases, and browsers from elsewhere."""

import json
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from api.models import ApiKey
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, ModelAlias, Provider
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import HELLO
from proxysite.testing.upstream import DONE, Gate, send_stream

DOORS = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/m"),
]
ORIGIN = "https://app.example"
PROMISED_SECONDS = 1.0  # in which a revoked key or a disabled token stops working


async def with_headers(gateway, door, *lines):
    """One request on a bare connection, with exactly these header lines."""
    method, path = door
    body = {"model": "m", "prompt": "Hi", "input": "Hi", "messages": HELLO}
    wanted = {
        "chat": ("model", "messages"),
        "comp": ("model", "prompt"),
        "embe": ("model", "input"),
    }.get(path[4:8], ())
    data = json.dumps({name: body[name] for name in wanted}).encode() if wanted else b""
    head = [f"{method} {path} HTTP/1.1".encode(), b"Host: 127.0.0.1", *lines]
    if wanted:
        head += [b"Content-Type: application/json", b"Content-Length: %d" % len(data)]
    async with gateway.open_bare_connection() as wire:
        await wire.send(b"\r\n".join(head) + b"\r\n\r\n" + data)
        return await wire.receive_answer()


# --- keys -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("door", DOORS, ids=[path for _, path in DOORS])
async def test_a_key_is_given_as_bearer_or_x_api_key(gateway, upstream, alice, door):
    key = alice.key.encode()
    for lines in (
        [b"Authorization: Bearer " + key],
        [b"authorization:bearer   " + key + b" "],
        [b"X-Api-Key: " + key],
        [b"X-Api-Key: " + key, b"Authorization: Bearer " + key],
    ):
        assert (await with_headers(gateway, door, *lines)).status == 200, lines


async def test_without_a_good_key_nothing_is_answered_and_nobody_is_asked(
    gateway, upstream, alice, subtests
):
    for door in DOORS:
        with subtests.test(door=door):
            key = alice.key.encode()
            values = (
                b"",
                b"Bearer",
                b"Bearer ",
                b"Basic " + key,
                key,
                b"Bearer " + key + b"x",
                b"Bearer " + key[:-1],
            )
            odd = (
                b"Bearer sk-ps-unknown",
                b"Bearer " + b"x" * 8192,
                b"Bearer ' OR 1=1 --",
                b"Bearer \xfc\xff",
                b"Bearer a b",
            )
            wrong = [[b"Authorization: " + value] for value in values + odd]
            for lines in ([], [b"X-Api-Key: sk-ps-unknown"], [b"X-Api-Key:"], *wrong):
                answer = await with_headers(gateway, door, *lines)
                assert answer.status == 401, lines
                assert answer.error["type"] == "invalid_request_error"
                assert answer.error["code"] == "invalid_api_key"
                assert answer.headers["www-authenticate"] == "Bearer"
            assert upstream.requests == []
            assert await rows.read_usage_records() == []


async def test_two_different_keys_in_one_request_are_refused(
    gateway, upstream, alice, mallory, subtests
):
    for door in DOORS:
        with subtests.test(door=door):
            lines = f"Authorization: Bearer {alice.key}", f"X-Api-Key: {mallory.key}"
            answer = await with_headers(gateway, door, *map(str.encode, lines))
            assert answer.status == 400
            assert answer.error["code"] == "ambiguous_credentials"
            assert upstream.requests == []


async def test_unknown_revoked_and_expired_keys_and_those_of_inactive_users_get_the_same_answer(
    gateway, alice
):
    people = {
        name: await run_in_thread(rows.create_person, name)
        for name in ("revoked", "expired", "inactive")
    }

    def spoil():
        ApiKey.objects.filter(pk=people["revoked"].row.pk).revoke()
        past = datetime.now(UTC) - timedelta(seconds=1)
        ApiKey.objects.filter(pk=people["expired"].row.pk).update(expires_at=past)
        type(people["inactive"].user).objects.filter(pk=people["inactive"].user.pk).update(
            is_active=False
        )

    await run_in_thread(spoil)
    unknown = await gateway.request_chat("sk-ps-unknown")
    for person in people.values():
        for answer in (
            await gateway.request_chat(person.key),
            await gateway.send_request("GET", "/v1/models", person.key),
        ):
            assert (answer.status, answer.body) == (401, unknown.body)


async def test_a_key_expires_while_it_is_in_use(gateway, upstream, alice):
    assert (await gateway.request_chat(alice.key)).status == 200
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    await run_in_thread(ApiKey.objects.filter(pk=alice.row.pk).update, expires_at=soon)
    await gateway.reload_rows()

    async def refused():
        return (await gateway.request_chat(alice.key)).status == 401

    await wait_until_true(refused)
    assert datetime.now(UTC) >= soon


@pytest.mark.parametrize("how", ["revoked", "deleted", "user inactive"])
async def test_a_key_stops_working_within_a_second(gateway, upstream, alice, mallory, how):
    assert (await gateway.request_chat(alice.key)).status == 200

    def stop():
        mine = ApiKey.objects.filter(pk=alice.row.pk)
        if how == "revoked":
            mine.revoke()
        elif how == "deleted":
            mine.delete()
        else:
            type(alice.user).objects.filter(pk=alice.user.pk).update(is_active=False)

    await run_in_thread(stop)

    async def refused():
        return (await gateway.request_chat(alice.key)).status == 401

    await wait_until_true(refused, PROMISED_SECONDS)
    assert (await gateway.request_chat(mallory.key)).status == 200


async def test_a_new_key_works_at_once(gateway, upstream, alice):
    assert (await gateway.request_chat("sk-ps-unknown")).status == 401
    fresh = await run_in_thread(rows.create_person, "fresh")
    assert (await gateway.request_chat(fresh.key)).status == 200


async def test_a_running_stream_outlives_its_revoked_key(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("one"), gate, speech.chat_chunk(finish="stop"), DONE)
    )
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until("one")
        await run_in_thread(ApiKey.objects.filter(pk=alice.row.pk).revoke)
        await gateway.reload_rows()
        gate.open()
        assert (await reading.read_rest()).is_complete


async def test_the_last_use_of_a_key_is_written(gateway, upstream, alice, monkeypatch):
    monkeypatch.setattr("api.relay.gateway.LAST_USE_WRITE_SECONDS", 0.01)
    await gateway.restart_server()
    before = datetime.now(UTC)
    await gateway.request_chat(alice.key)

    async def used_at():
        return (await rows.reload_row(alice.row)).last_used_at

    assert await wait_until_true(used_at) >= before


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
@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models"]
)
async def test_a_preflight_is_answered_without_a_key_and_without_the_database(
    gateway, path, django_db_blocker, caplog
):
    headers = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": (
            "authorization,content-type,x-stainless-os,openai-organization"
        ),
    }
    with django_db_blocker.block():
        answer = await gateway.send_request("OPTIONS", path, headers=headers)
        stranger = await gateway.send_request(
            "OPTIONS", path, headers=headers | {"origin": "https://evil.example"}
        )
    caplog.clear()  # the watcher of changes has asked the database meanwhile, and was refused
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    allowed = answer.headers["access-control-allow-headers"].replace(" ", "").split(",")
    assert {
        "authorization",
        "content-type",
        "x-api-key",
        "x-stainless-os",
        "openai-organization",
    } <= set(allowed)
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-origin" not in stranger.headers


async def test_answers_and_errors_are_readable_for_allowed_origins_only(gateway, upstream, alice):
    for key, extra, status in (
        (alice.key, {}, 200),
        (alice.key, {"stream": True}, 200),
        ("sk-ps-unknown", {}, 401),
        (alice.key, {"model": "nothing"}, 404),
    ):
        answer = await gateway.request_chat(key, headers={"origin": ORIGIN}, **extra)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert "origin" in ",".join(answer.headers.get_list("vary")).lower()
        assert "access-control-allow-credentials" not in answer.headers
        for origin in ("https://evil.example", "null", "https://app.example.evil.example"):
            other = await gateway.request_chat(key, headers={"origin": origin}, **extra)
            assert other.status == status
            assert "access-control-allow-origin" not in other.headers


async def test_the_admin_is_not_for_other_origins(gateway):
    answer = await gateway.send_request("GET", "/admin/login/", headers={"origin": ORIGIN})
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


ROUTED = {
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
    for path, field in product(PROMPTS, ROUTED):
        with subtests.test(path=path, field=field):
            body = {"model": "m", field: ROUTED[field]} | PROMPTS[path]
            answer = await gateway.send_request("POST", path, bob.key, json=body)
            assert (answer.status, answer.error["param"]) == (400, field)
            assert answer.error["code"] == "unsupported_parameter"
            assert upstream.requests == []


@pytest.mark.parametrize("field", ROUTED)
async def test_a_key_for_all_models_may_route_at_the_upstream(gateway, upstream, alice, field):
    assert (await gateway.request_chat(alice.key, **{field: ROUTED[field]})).status == 200
    assert upstream.requests[0].json[field] == ROUTED[field]
