"""/tokenize and /detokenize: exactly here, exactly by an upstream, or estimated."""

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, Provider
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal, send_reply

TEXT = "Hello wörld 👋 <|endoftext|>"
# in OpenAI's vocabulary o200k, where the marker is text like any other
NUMBERS = [13225, 286, 2877, 582, 61138, 233, 464, 91, 419, 1440, 919, 91, 29]
MESSAGES = [{"role": "user", "content": "Hello"}]


async def ask(gateway, key, path="/v1/tokenize", **body):
    return await gateway.send_request("POST", path, key, json={"model": "m"} | body)


@pytest.fixture
def change(gateway):
    """Return a function that changes the provider and its model, and loads them."""

    async def change(upstream_name="upstream-model", window=None, **provider_fields):
        def update():
            ChatModel.objects.update(upstream_name=upstream_name, context_window=window)
            if provider_fields:
                Provider.objects.update(**provider_fields)

        await run_in_thread(update)
        await gateway.reload_rows()

    return change


@pytest.mark.parametrize("path", ["/tokenize", "/v1/tokenize"])
async def test_tokens_are_exact_where_the_vocabulary_is_known(
    gateway, upstream, alice, change, path
):
    await change("gpt-5-mini", window=400_000)
    answer = await ask(gateway, alice.key, path, prompt=TEXT)
    assert answer.json == {
        "count": len(NUMBERS),
        "max_model_len": 400_000,
        "tokens": NUMBERS,
        "token_strs": None,
    }
    answer = await ask(gateway, alice.key, path, prompt="Hello there", return_token_strs=True)
    assert answer.json["token_strs"] == ["Hello", " there"]
    answer = await ask(gateway, alice.key, path.replace("token", "detoken"), tokens=NUMBERS)
    assert answer.json == {"prompt": TEXT}
    assert not upstream.requests
    assert not await rows.read_usage_records()


async def test_a_number_that_is_no_token_is_named(gateway, alice, change):
    await change("gpt-5")
    answer = await ask(gateway, alice.key, "/detokenize", tokens=[1, 2_000_000])
    assert (answer.status, answer.error["param"]) == (400, "tokens")


async def test_a_server_of_open_models_is_asked(gateway, upstream, alice, change, token):
    await change(dialect="vllm")
    upstream.queue_scripts(
        send_reply({"count": 2, "max_model_len": 4_096, "tokens": [1, 7], "token_strs": None}),
        send_reply({"prompt": "Hello"}),
    )
    answer = await ask(gateway, alice.key, messages=MESSAGES, add_generation_prompt=False)
    assert answer.json == {
        "count": 2,
        "max_model_len": 4_096,
        "tokens": [1, 7],
        "token_strs": None,
    }
    answer = await ask(gateway, alice.key, "/v1/detokenize", tokens=[1, 7])
    assert answer.json == {"prompt": "Hello"}
    first, second = upstream.requests
    assert (first.path, second.path) == ("/tokenize", "/detokenize")
    assert first.bearer_token == "sk-up-1"
    assert first.json == {
        "model": "upstream-model",
        "messages": MESSAGES,
        "add_generation_prompt": False,
    }


async def test_llama_cpp_has_names_of_its_own(gateway, upstream, alice, change, token):
    await change(dialect="llama.cpp", window=8_192)
    upstream.queue_scripts(send_reply({"tokens": [1, 7]}), send_reply({"content": "Hello"}))
    answer = await ask(gateway, alice.key, prompt="Hello")
    assert (answer.json["tokens"], answer.json["max_model_len"]) == ([1, 7], 8_192)
    answer = await ask(gateway, alice.key, "/v1/detokenize", tokens=[1, 7])
    assert answer.json == {"prompt": "Hello"}
    assert upstream.requests[0].json == {"content": "Hello", "add_special": True}


async def test_gemini_counts_but_lists_no_tokens(gateway, upstream, alice, change, token):
    await change("gemini-2.0-flash", window=1_048_576, kind="gemini")
    upstream.queue_scripts(send_reply({"totalTokens": 31}))
    answer = await ask(gateway, alice.key, prompt="Hello")
    assert answer.json == {
        "count": 31,
        "max_model_len": 1_048_576,
        "tokens": None,
        "token_strs": None,
    }


@pytest.mark.parametrize("dialect", ["", "vllm"])
async def test_what_nobody_says_is_estimated(gateway, upstream, alice, change, token, dialect):
    await change(dialect=dialect)
    upstream.set_default_script(send_refusal(500))
    answer = await ask(gateway, alice.key, messages=MESSAGES)
    assert answer.json["estimated"] is True
    assert answer.json["count"] > 0
    assert answer.json["tokens"] is None
    assert len(upstream.requests) == (1 if dialect else 0)
    answer = await ask(gateway, alice.key, "/v1/detokenize", tokens=[1])
    assert (answer.status, answer.error["param"]) == (400, "model")


async def test_a_refusal_of_the_server_is_passed_on(gateway, upstream, alice, change, token):
    await change(dialect="vllm")
    upstream.queue_scripts(send_refusal(400, "Too long."))
    answer = await ask(gateway, alice.key, prompt="Hello")
    assert (answer.status, answer.error["message"]) == (400, "Too long.")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "prompt"),
        ({"prompt": "a", "messages": MESSAGES}, 400, "prompt"),
        ({"prompt": 5}, 400, "prompt"),
        ({"messages": [{"role": "user"}]}, 400, "messages[0].content"),
        ({"prompt": "a", "chat_template": "x"}, 400, "chat_template"),
        ({"prompt": "a", "model": "nothing"}, 404, "model"),
    ],
)
async def test_bad_input_is_a_clear_error(gateway, upstream, alice, body, status, param):
    answer = await ask(gateway, alice.key, **body)
    assert (answer.status, answer.error["param"]) == (status, param)


async def test_a_key_may_only_ask_for_its_models(gateway, provider, upstream):
    await run_in_thread(rows.create_model, provider, "n")
    await gateway.reload_rows()
    bob = await run_in_thread(rows.create_person, "bob", models=["n"])
    answer = await ask(gateway, bob.key, prompt="a")
    assert answer.status == 403
    assert (await ask(gateway, None, prompt="a")).status == 401
