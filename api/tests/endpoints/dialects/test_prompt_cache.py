"""An upstream's prompt cache finds again what it was sent before: bytes, order, credential."""

import hashlib
import itertools
import json

import openai
import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import Exchange, send_refusal, send_reply

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
HI = {"role": "user", "content": "hi"}
MESSAGES = [
    {"content": "Üben\u2028 macht 1.50 €", "role": "system"},
    HI,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"tool_call_id": "call_1", "role": "tool", "content": '{"b":1,"a":2.0}'},
]
TOOLS = [{"function": {"parameters": {"b": 1, "a": 1e-7}, "name": "f"}, "type": "function"}]
TURNS = 20


def cut_array(body: bytes, name: str) -> bytes:
    """Return the bytes of a field of the body that is an array, as they were sent."""
    text = body.decode()
    start = text.index(f'"{name}":[') + len(name) + 3
    _, end = json.JSONDecoder().raw_decode(text, start)
    return text[start:end].encode()


def hash_array(body: bytes, name: str) -> str:
    return hashlib.sha256(cut_array(body, name)).hexdigest()


def encode(value: object) -> bytes:
    """Return the value as it is sent: compact, and not in ASCII alone."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def require_growing_prompts(requests) -> None:
    """Check that each prompt begins with the bytes of the one before, its tools unchanged."""
    bodies = [request.body for request in requests]
    for earlier, later in itertools.pairwise(bodies):
        begun = cut_array(earlier, "messages").removesuffix(b"]") + b","
        assert cut_array(later, "messages").startswith(begun)
        if b'"tools":' in earlier:
            assert hash_array(later, "tools") == hash_array(earlier, "tools")


async def answer_by_turn(exchange: Exchange) -> None:
    """Answer differently at each turn, with a call at every third one."""
    messages = exchange.request.json["messages"]
    number = len(messages)
    reply = speech.chat_completion(f"Answer {number}: „Übung“ 1.50 € \\u00e9")
    if messages[-1]["role"] == "user" and number % 3 == 0:
        call = CALL | {"id": f"call_{number}"}
        reply["choices"][0]["message"] |= {"content": None, "tool_calls": [call]}
        reply["choices"][0]["finish_reason"] = "tool_calls"
    await send_reply(reply)(exchange)


# --- bytes and order ------------------------------------------------------------------------------
async def test_messages_and_tools_reach_the_upstream_byte_for_byte_in_their_order(
    gateway, upstream, alice
):
    await gateway.request_chat(alice.key, messages=MESSAGES, tools=TOOLS)
    await gateway.request_chat(alice.key, messages=[*MESSAGES, HI], tools=TOOLS)
    first, second = upstream.requests
    assert json.dumps(json.loads(first.body)["messages"]) == json.dumps(MESSAGES)
    assert json.dumps(json.loads(first.body)["tools"]) == json.dumps(TOOLS)
    assert hash_array(first.body, "messages") == hashlib.sha256(encode(MESSAGES)).hexdigest()
    require_growing_prompts([first, second])


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_a_body_is_sent_in_the_same_bytes_each_time(gateway, upstream, alice, streams):
    fields = {"messages": MESSAGES, "tools": TOOLS, "temperature": 0.5, "stream": streams}
    for _ in range(2):
        await gateway.request_chat(alice.key, **fields)
    first, second = (hashlib.sha256(request.body).hexdigest() for request in upstream.requests)
    assert first == second


async def ask_turns(gateway, key: str, upstream) -> None:
    """Ask the turns of one conversation, bringing the results of the calls that were made."""
    asked = {"conversation_id": "talk", "tools": TOOLS}
    message = {"role": "user", "content": "Wie heißt er?"}
    for number in range(TURNS):
        answer = await gateway.request_chat(key, messages=[message], **asked)
        said = answer.json["choices"][0]["message"]
        message = {"role": "user", "content": f"Und dann, {number}? “ \\"}
        if calls := said.get("tool_calls"):
            message = {"role": "tool", "tool_call_id": calls[0]["id"], "content": '{"b":1,"a":2}'}


async def test_each_turn_of_a_conversation_begins_with_the_bytes_of_the_one_before(
    gateway, upstream, alice
):
    upstream.set_default_script(answer_by_turn)
    await ask_turns(gateway, alice.key, upstream)
    assert len(upstream.requests) == TURNS
    assert any(b'"role":"tool"' in request.body for request in upstream.requests)
    require_growing_prompts(upstream.requests)


async def test_each_response_begins_with_the_bytes_of_the_one_before(gateway, upstream, alice):
    upstream.set_default_script(answer_by_turn)
    tool = {"type": "function", "name": "f", "parameters": {"b": 1, "a": 1e-7}, "strict": False}
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=alice.key) as client:
        response = await client.responses.create(model="m", input="Wie heißt er?", tools=[tool])
        for number in range(6):
            given = f"Und dann, {number}?"
            for item in response.output:
                if item.type == "function_call":
                    output = {"type": "function_call_output", "call_id": item.call_id}
                    given = [output | {"output": "ja"}]
            response = await client.responses.create(
                model="m", input=given, tools=[tool], previous_response_id=response.id
            )
    assert len(upstream.requests) == 7
    assert any(b'"role":"tool"' in request.body for request in upstream.requests)
    require_growing_prompts(upstream.requests)


# --- the credential -------------------------------------------------------------------------------
async def test_a_conversation_stays_on_its_credential_for_all_its_turns(
    gateway, upstream, alice, three
):
    upstream.set_default_script(answer_by_turn)
    await gateway.request_chat(alice.key)  # so that the rotation is not at its beginning
    await ask_turns(gateway, alice.key, upstream)
    tokens = [request.bearer_token for request in upstream.requests[1:]]
    assert len(tokens) == TURNS
    assert len(set(tokens)) == 1
    assert tokens[0] != upstream.requests[0].bearer_token


async def test_a_conversation_goes_on_with_the_credential_that_took_over(
    gateway, upstream, alice, three
):
    upstream.set_default_script(answer_by_turn)
    limited_tokens: set[str] = set()

    async def limit_some(exchange: Exchange) -> None:
        if exchange.request.bearer_token in limited_tokens:
            return await send_refusal(429, "Slow down.", retry_after="1")(exchange)
        return await answer_by_turn(exchange)

    async def ask_turn() -> str:
        user = {"role": "user", "content": "Hi"}
        answer = await gateway.request_chat(alice.key, messages=[user], conversation_id="talk")
        assert answer.status == 200
        return upstream.requests[-1].bearer_token

    upstream.set_default_script(limit_some)
    first_token = await ask_turn()
    limited_tokens.add(first_token)
    second_token = await ask_turn()
    limited_tokens.clear()
    assert second_token != first_token
    assert {await ask_turn() for _ in range(5)} == {second_token}
