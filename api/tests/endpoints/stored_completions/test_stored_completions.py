"""One stored chat completion: read and changed, by its user alone."""

import openai
import pytest
from openai import AsyncOpenAI

from api.tests.endpoints.stored_completions.completion_rows import (
    PATH,
    QUESTION,
    USAGE,
    completion_id,
    create_completion,
    list_completions,
    make_answer,
)
from conversations.messages import items
from conversations.messages.items import Entry
from conversations.models import Conversation, ConversationKind, TurnEndpoint, TurnStatus
from providers.database.database_threads import run_in_thread

UNKNOWN = f"chatcmpl-{'0' * 32}"


# --- one ------------------------------------------------------------------------------------------
async def test_a_stored_completion_is_the_answer_with_what_it_was_asked_for(gateway, alice):
    settings = {"temperature": 0.5, "seed": 7, "user": "u-1"}
    turn = await run_in_thread(
        lambda: create_completion(
            alice, settings=settings, metadata={"a": "b"}, extra_fields={"steps": [{"t": 1}]}
        )
    )
    answer = await gateway.send_request("GET", f"{PATH}/{completion_id(turn)}", alice.key)
    assert answer.status == 200
    found = answer.json
    assert found["id"] == completion_id(turn)
    assert found["request_id"] == f"req_{turn.pk.hex}"
    assert (found["object"], found["model"], found["created"]) == (
        "chat.completion",
        "m",
        int(turn.created_at.timestamp()),
    )
    assert (found["usage"], found["metadata"], found["steps"]) == (USAGE, {"a": "b"}, [{"t": 1}])
    assert (found["temperature"], found["seed"], found["input_user"], found["top_p"]) == (
        0.5,
        7,
        "u-1",
        None,
    )
    message = {"role": "assistant", "content": "It is 42.", "refusal": None}
    assert found["choices"] == [
        {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    ]


async def test_thinking_calls_refusals_and_further_choices_come_back(gateway, alice):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    answer = [
        items.make_reasoning_entry("Hm."),
        make_answer("Let me see."),
        items.make_call_entry(call),
    ]
    second = {
        "index": 1,
        "message": {"role": "assistant", "content": "No."},
        "finish_reason": "stop",
    }
    refusal = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "refusal", "refusal": "I won't."}],
    }

    def make():
        first = create_completion(
            alice, *answer, finish_reason="tool_calls", extra_fields={"choices": [second]}
        )
        return first, create_completion(alice, Entry("message", "assistant", refusal, "I won't."))

    first, refused = await run_in_thread(make)
    choices = (await gateway.send_request("GET", f"{PATH}/{completion_id(first)}", alice.key)).json[
        "choices"
    ]
    assert choices[0]["finish_reason"] == "tool_calls"
    assert choices[0]["message"] == {
        "role": "assistant",
        "content": "Let me see.",
        "refusal": None,
        "reasoning_content": "Hm.",
        "tool_calls": [call],
    }
    assert choices[1] == second | {"logprobs": None}
    found = await gateway.send_request("GET", f"{PATH}/{completion_id(refused)}", alice.key)
    (choice,) = found.json["choices"]
    assert (choice["message"]["content"], choice["message"]["refusal"]) == (None, "I won't.")


async def test_annotations_and_logprobs_come_back(gateway, alice):
    note = {
        "type": "url_citation",
        "url": "https://example.org",
        "title": "x",
        "start_index": 0,
        "end_index": 2,
    }
    logprob = {"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}
    part = {"type": "output_text", "text": "Hi", "annotations": [note], "logprobs": [logprob]}
    entry = Entry(
        "message", "assistant", {"type": "message", "role": "assistant", "content": [part]}, "Hi"
    )
    turn = await run_in_thread(create_completion, alice, entry)
    (choice,) = (
        await gateway.send_request("GET", f"{PATH}/{completion_id(turn)}", alice.key)
    ).json["choices"]
    assert choice["message"]["annotations"] == [note]
    assert choice["logprobs"] == {"content": [logprob], "refusal": None}


async def test_an_answer_that_was_cut_off_is_not_shown_as_finished(gateway, alice):
    turn = await run_in_thread(
        lambda: create_completion(
            alice, make_answer("It is"), status=TurnStatus.INCOMPLETE, finish_reason=""
        )
    )
    (choice,) = (
        await gateway.send_request("GET", f"{PATH}/{completion_id(turn)}", alice.key)
    ).json["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("It is", None)


async def test_what_is_anothers_not_stored_or_not_ended_is_as_if_it_was_not_there(
    gateway, alice, mallory
):
    def make():
        turns = [
            create_completion(mallory),
            create_completion(alice, stored=False),
            create_completion(alice, endpoint=TurnEndpoint.RESPONSE),
        ]
        turns += [create_completion(alice, status=TurnStatus.FAILED)]
        named = Conversation.objects.create(
            user=alice.user, kind=ConversationKind.NAMED, name="old"
        )
        turns.append(create_completion(alice, conversation=named))
        Conversation.objects.filter(pk=named.pk).update(expires_at=named.created_at)
        return [completion_id(turn) for turn in turns] + [
            "chatcmpl-",
            "chatcmpl-" + "٣" * 32,
            UNKNOWN.upper()[:-1] + "0",
        ]

    asked = [
        ("GET", "", None),
        ("POST", "", {"metadata": {}}),
        ("DELETE", "", None),
        ("GET", "/messages", None),
    ]
    names = [one for one in await run_in_thread(make) if one.startswith("chatcmpl-")]
    for method, path, body in asked:
        unknown = await gateway.send_request(
            method, f"{PATH}/{UNKNOWN}{path}", alice.key, json=body
        )
        assert (unknown.status, unknown.error["code"]) == (404, "completion_not_found")
        for one in names:
            answer = await gateway.send_request(method, f"{PATH}/{one}{path}", alice.key, json=body)
            assert (answer.status, answer.body.replace(one.encode(), UNKNOWN.encode())) == (
                404,
                unknown.body,
            )
    assert (await list_completions(gateway, alice.key))["data"] == []
    assert (
        await gateway.send_request("GET", PATH, alice.key, params={"after": names[0]})
    ).status == 404


async def test_the_metadata_can_be_changed(gateway, alice):
    turn = await run_in_thread(lambda: create_completion(alice, metadata={"a": "b"}))
    path = f"{PATH}/{completion_id(turn)}"
    changed = await gateway.send_request("POST", path, alice.key, json={"metadata": {"c": "d"}})
    assert (changed.status, changed.json["metadata"]) == (200, {"c": "d"})
    assert (await gateway.send_request("GET", path, alice.key)).json == changed.json
    for body, param in (({}, "metadata"), ({"metadata": {"a": "v" * 513}}, "metadata.a")):
        answer = await gateway.send_request("POST", path, alice.key, json=body)
        assert (answer.status, answer.error["param"]) == (400, param)


async def test_a_key_that_stores_nothing_changes_nothing_but_can_delete(gateway, alice):
    def silence():
        alice.row.stores_content = False
        alice.row.save()
        return create_completion(alice)

    path = f"{PATH}/{completion_id(await run_in_thread(silence))}"
    refused = await gateway.send_request("POST", path, alice.key, json={"metadata": {"a": "b"}})
    assert (refused.status, refused.error["code"]) == (403, "storage_disabled")
    assert (await gateway.send_request("GET", path, alice.key)).json["metadata"] == {}
    assert (await gateway.send_request("DELETE", path, alice.key)).status == 200


# --- the list -------------------------------------------------------------------------------------
async def test_only_reading_is_possible_beside_the_relaying_door(gateway, alice):
    for method in ("PUT", "PATCH", "DELETE"):
        assert (await gateway.send_request(method, PATH, alice.key)).status == 405
    assert (await gateway.send_request("GET", PATH)).status == 401
    assert (await gateway.request_chat(alice.key)).status == 200


# --- the official client --------------------------------------------------------------------------
async def test_what_the_official_client_stores_it_finds_again(gateway, upstream, alice):
    async with AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=alice.key, max_retries=0
    ) as client:
        completions = client.chat.completions
        made = await completions.create(
            model="m", messages=QUESTION, store=True, metadata={"a": "b"}, temperature=0.5
        )
        found = await completions.retrieve(made.id)
        assert (found.id, found.model, found.created) == (made.id, made.model, made.created)
        assert found.choices[0].message.content == made.choices[0].message.content
        assert found.choices[0].finish_reason == made.choices[0].finish_reason
        assert (found.metadata, found.temperature) == ({"a": "b"}, 0.5)
        assert found.usage.total_tokens == made.usage.total_tokens
        messages = [message.content async for message in completions.messages.list(made.id)]
        assert messages == [message["content"] for message in QUESTION]
        unkept = await completions.create(model="m", messages=QUESTION)
        with pytest.raises(openai.NotFoundError):
            await completions.retrieve(unkept.id)


async def test_the_official_client_finds_changes_and_deletes_what_is_stored(gateway, alice):
    one, other = await run_in_thread(
        lambda: (create_completion(alice, metadata={"a": "b"}), create_completion(alice))
    )
    async with AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=alice.key, max_retries=0
    ) as client:
        completions = client.chat.completions
        assert [found.id async for found in completions.list(limit=1)] == [
            completion_id(one),
            completion_id(other),
        ]
        assert [found.id async for found in completions.list(metadata={"a": "b"}, model="m")] == [
            completion_id(one)
        ]
        found = await completions.retrieve(completion_id(one))
        assert found.choices[0].message.content == "It is 42."
        assert found.usage.total_tokens == 11
        assert (await completions.update(completion_id(one), metadata={"c": "d"})).metadata == {
            "c": "d"
        }
        messages = [
            message async for message in completions.messages.list(completion_id(one), limit=1)
        ]
        assert [(message.role, message.content) for message in messages] == [
            ("system", "Be brief."),
            ("user", "What is six by seven?"),
        ]
        assert (await completions.delete(completion_id(one))).deleted
        with pytest.raises(openai.NotFoundError) as caught:
            await completions.retrieve(completion_id(one))
        assert caught.value.code == "completion_not_found"
