"""The doors beside chat: legacy completions, embeddings, health and the home page."""

import struct
from base64 import b64decode, b64encode

import pytest

from api.views.health import failure_marker_path
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows, speech
from proxysite.testing.upstream import CUT, DONE, send_refusal, send_reply, send_stream

COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"


async def ask(gateway, alice, path, **body):
    return await gateway.send_request("POST", path, alice.key, json={"model": "m"} | body)


@pytest.fixture
async def echo(gateway):
    """The offline provider and its model, as the first run makes them."""

    def make():
        row = Provider.objects.create(name="echo", kind="echo", needs_token=False)
        return rows.create_model(
            row, "echo", "echo", capabilities=["chat", "completions", "embeddings"]
        )

    row = await run_in_thread(make)
    await gateway.reload_rows()
    return row


# --- completions ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "prompt",
    ["Say hi", ["Say", "hi"], [1, 2, 3], [[1, 2], [3]]],
    ids=["text", "texts", "tokens", "token lists"],
)
async def test_a_legacy_completion_is_relayed(gateway, upstream, alice, prompt):
    answer = await ask(gateway, alice, COMPLETIONS, prompt=prompt, max_tokens=5, suffix="!")
    assert answer.status == 200
    whole = answer.json
    assert (whole["object"], whole["model"]) == ("text_completion", "m")
    assert whole["id"].startswith("cmpl-")
    assert whole["choices"][0]["text"] == "Hello there!"
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"] == speech.token_usage()
    asked = upstream.requests[0]
    assert asked.path == "/v1/completions"
    assert asked.json == {
        "model": "upstream-model",
        "prompt": prompt,
        "max_tokens": 5,
        "suffix": "!",
    }
    row = await rows.read_only_usage_record()
    assert (row.endpoint, row.status, row.completion_tokens) == ("completions", "complete", 3)


@pytest.mark.parametrize("usage", [False, True])
async def test_a_streamed_legacy_completion_is_relayed(gateway, upstream, alice, usage):
    options = {"stream_options": {"include_usage": True}} if usage else {}
    answer = await ask(gateway, alice, COMPLETIONS, prompt="Say hi", stream=True, **options)
    assert answer.status == 200
    assert answer.is_complete
    events = answer.events
    assert {(event["object"], event["model"]) for event in events} == {("text_completion", "m")}
    assert len({event["id"] for event in events}) == 1
    assert (
        "".join(choice["text"] for event in events for choice in event["choices"]) == "Hello there!"
    )
    assert answer.finish_reasons == ["stop"]
    if usage:
        assert events[-1]["choices"] == []
        assert events[-1]["usage"] == speech.token_usage()
    else:
        assert all("usage" not in event for event in events)


async def test_a_streamed_legacy_completion_that_comes_as_one_answer_is_made_a_stream(
    gateway, upstream, alice
):
    upstream.queue_scripts(send_reply(speech.text_completion("Hi.", usage=speech.token_usage())))
    answer = await ask(gateway, alice, COMPLETIONS, prompt="Say hi", stream=True)
    assert answer.status == 200
    assert answer.is_complete
    assert (
        "".join(choice["text"] for event in answer.events for choice in event["choices"]) == "Hi."
    )
    assert answer.finish_reasons == ["stop"]


async def test_a_legacy_completion_cut_in_the_middle_never_looks_finished(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(speech.text_completion("Hel", None), upstream.gate, CUT))
    upstream.gate.open()
    answer = await ask(gateway, alice, COMPLETIONS, prompt="Say hi", stream=True)
    if answer.status == 200:
        assert answer.stream_error["code"] == "upstream_disconnected"
    else:  # both pieces came in one read
        assert answer.error["code"] == "upstream_disconnected"


async def test_a_wrong_legacy_completion_is_a_400(gateway, upstream, alice, subtests):
    cases = [
        ({}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": [1, "x"]}, "prompt"),
        ({"best_of": 0}, "best_of"),
    ]
    for body, param in cases:
        with subtests.test(body=body, param=param):
            answer = await ask(
                gateway, alice, COMPLETIONS, **({"prompt": "x"} | body if body else {})
            )
            assert answer.status == 400
            assert answer.error["param"].startswith(param)
            assert upstream.requests == []


# --- embeddings -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "given",
    ["a", ["a", "b"], [1, 2], [[1, 2], [3]]],
    ids=["text", "texts", "tokens", "token lists"],
)
async def test_embeddings_are_relayed(gateway, upstream, alice, given):
    upstream.queue_scripts(send_reply(speech.embedding_list([0.5, -0.25], [1e-7, 1])))
    answer = await ask(gateway, alice, EMBEDDINGS, input=given, dimensions=2, user="u")
    assert answer.status == 200
    whole = answer.json
    assert (whole["object"], whole["model"]) == ("list", "m")
    assert [entry["embedding"] for entry in whole["data"]] == [[0.5, -0.25], [1e-7, 1]]
    assert whole["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    asked = upstream.requests[0]
    assert asked.path == "/v1/embeddings"
    assert asked.json == {"model": "upstream-model", "input": given, "dimensions": 2, "user": "u"}
    row = await rows.read_only_usage_record()
    assert (row.endpoint, row.status, row.prompt_tokens, row.completion_tokens) == (
        "embeddings",
        "complete",
        4,
        0,
    )


async def test_base64_embeddings_pass_untouched(gateway, upstream, alice):
    packed = b64encode(struct.pack("<2f", 0.5, -0.25)).decode()
    upstream.queue_scripts(send_reply(speech.embedding_list(packed)))
    answer = await ask(gateway, alice, EMBEDDINGS, input="a", encoding_format="base64")
    assert answer.json["data"][0]["embedding"] == packed
    assert upstream.requests[0].json["encoding_format"] == "base64"


async def test_many_large_embeddings_pass(gateway, upstream, alice):
    vectors = [[0.123456789] * 1536] * 64
    upstream.queue_scripts(send_reply(speech.embedding_list(*vectors)))
    answer = await ask(gateway, alice, EMBEDDINGS, input=["a"] * 64)
    assert [entry["embedding"] for entry in answer.json["data"]] == vectors


async def test_a_wrong_embedding_request_is_a_400(gateway, upstream, alice, subtests):
    cases = [{}, {"input": None}, {"input": {}}, {"input": "a", "dimensions": 0}]
    for body in cases:
        with subtests.test(body=body):
            answer = await ask(gateway, alice, EMBEDDINGS, **body)
            assert answer.status == 400
            assert answer.error["param"] in ("input", "dimensions")
            assert upstream.requests == []


async def test_faults_of_an_embedding_upstream_are_those_of_any_other(
    gateway, upstream, alice, token
):
    upstream.queue_scripts(
        send_refusal(401), send_reply(speech.embedding_list()), send_refusal(400, "too many")
    )
    assert (await ask(gateway, alice, EMBEDDINGS, input="a")).status == 503
    assert (await gateway.read_token_row(token)).strikes == 1
    assert (await ask(gateway, alice, EMBEDDINGS, input="a")).error[
        "code"
    ] == "bad_upstream_response"
    assert (await ask(gateway, alice, EMBEDDINGS, input="a")).error["message"] == "too many"
    assert [row.status for row in await rows.read_usage_records()] == ["error"] * 3


@pytest.mark.settings(TOOL_SUPPORT=False)
async def test_a_model_answers_only_for_what_it_can_do(gateway, upstream, alice, provider):
    await run_in_thread(rows.create_model, provider, "embedder", capabilities=["embeddings"])
    await run_in_thread(rows.create_model, provider, "talker", capabilities=["chat"])
    await gateway.reload_rows()
    assert (await ask(gateway, alice, EMBEDDINGS, model="embedder", input="a")).status == 200
    for answer in (
        await gateway.request_chat(alice.key, model="embedder"),
        await ask(gateway, alice, EMBEDDINGS, model="talker", input="a"),
        await gateway.request_chat(
            alice.key, model="talker", tools=[{"type": "function", "function": {"name": "f"}}]
        ),
    ):
        assert answer.status == 400
        assert answer.error["param"] in ("model", "tools")
    assert len(upstream.requests) == 1


# --- the offline model ----------------------------------------------------------------------------
async def test_echo_says_back_what_it_was_told(gateway, alice, echo):
    messages = [{"role": "user", "content": [{"type": "text", "text": "Grüß Gott, Welt!"}]}]
    for streams in (False, True):
        answer = await gateway.request_chat(
            alice.key, model="echo", messages=messages, stream=streams
        )
        assert answer.status == 200
        assert answer.text == "Grüß Gott, Welt!"
    assert answer.is_complete
    for row in await rows.read_usage_records():
        assert row.status == "complete"
        assert row.estimated
        assert row.completion_tokens > 0
        assert row.token_id is None


async def test_echo_has_every_door(gateway, alice, echo):
    legacy = await ask(gateway, alice, COMPLETIONS, model="echo", prompt="one two")
    assert legacy.json["choices"][0]["text"] == "one two"
    streamed = await ask(gateway, alice, COMPLETIONS, model="echo", prompt="one two", stream=True)
    assert streamed.is_complete
    as_floats = (await ask(gateway, alice, EMBEDDINGS, model="echo", input=["a", "b", "a"])).json[
        "data"
    ]
    as_base64 = await ask(
        gateway, alice, EMBEDDINGS, model="echo", input="a", encoding_format="base64"
    )
    vector = as_floats[0]["embedding"]
    assert vector == as_floats[2]["embedding"] != as_floats[1]["embedding"]
    packed = b64decode(as_base64.json["data"][0]["embedding"])
    assert list(struct.unpack(f"<{len(vector)}f", packed)) == pytest.approx(vector)


# --- health ---------------------------------------------------------------------------------------
async def test_health_is_open_and_tells_counts_to_staff_alone(gateway, alice, operator, token):
    stranger = await gateway.send_request("GET", "/health")
    assert stranger.status == 200
    assert stranger.json.keys() == {"status", "version", "worker", "beat"}
    assert [stranger.json[name] for name in ("status", "worker", "beat")] == ["ok", "ok", "ok"]
    assert (await gateway.send_request("GET", "/health", alice.key)).json == stranger.json
    for headers in ({"authorization": f"Bearer {operator.key}"}, {"x-api-key": operator.key}):
        known = await gateway.send_request("GET", "/health", headers=headers)
        assert known.json["tokens"] == {"total": 1, "active": 1, "inactive": 0}
    assert (await gateway.send_request("GET", "/health", "sk-ps-unknown")).status == 401


async def test_health_says_when_the_worker_inside_the_process_has_failed(gateway, settings):
    failure_marker_path("worker").touch()
    answer = await gateway.send_request("GET", "/health")
    assert (answer.status, answer.json["worker"], answer.json["beat"]) == (200, "failed", "ok")
    settings.EMBEDDED_WORKER = False
    assert (await gateway.send_request("GET", "/health")).json.keys() == {"status", "version"}
    failure_marker_path("worker").unlink()


# on a busy machine the answer may take longer than a database that counts as away
@pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=30)
async def test_counts_follow_the_state_of_the_tokens(gateway, upstream, operator, token, provider):
    await run_in_thread(rows.create_tokens, provider, "sk-up-2", "sk-up-3", state="disabled")
    upstream.queue_scripts(send_refusal(429, retry_after="60"))
    await gateway.request_chat(operator.key)
    await gateway.read_token_row(token)
    found = await gateway.send_request("GET", "/health", operator.key)
    assert found.json["tokens"] == {"total": 3, "active": 0, "inactive": 3}


@pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=30)
async def test_a_member_of_staff_sees_the_counts_too(gateway, operator, mallory, client, token):
    for person, seen in ((operator, True), (mallory, False)):
        await run_in_thread(client.force_login, person.user)
        cookie = client.cookies["sessionid"].value
        found = await gateway.send_request(
            "GET", "/health", headers={"cookie": f"sessionid={cookie}"}
        )
        assert found.status == 200
        assert ("tokens" in found.json) == seen


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_answer_and_tell_nothing(gateway, path):
    answer = await gateway.send_request("GET", path)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert len(answer.body) < 20
    assert "server" not in answer.headers


async def test_the_home_page_names_the_doors(gateway):
    answer = await gateway.send_request("GET", "/")
    assert answer.status == 200
    assert answer.json["status"] == "ok"
    assert "/v1/chat/completions" in answer.json["endpoints"].values()


async def test_done_is_not_said_twice(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(speech.text_completion("a", "stop"), DONE, DONE))
    assert (await ask(gateway, alice, COMPLETIONS, prompt="x", stream=True)).is_complete
