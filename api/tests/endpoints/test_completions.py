"""Stored chat completions: list, get, change, delete, messages; rows as the relaying door leaves
them.
"""

import uuid

import openai
import pytest
from openai import AsyncOpenAI

from api.relay.lean_request import new_request_id
from conversations.messages import chat_to_items, items
from conversations.messages.items import Entry
from conversations.models import (
    Conversation,
    ConversationKind,
    Item,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.search import item_search
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows

PATH = "/v1/chat/completions"
UNKNOWN = f"chatcmpl-{'0' * 32}"
ASKED = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is six by seven?"},
]
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def said(text="It is 42."):
    data = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text}],
    }
    return Entry("message", "assistant", data, text)


def kept(person, *answer, asked=ASKED, conversation=None, **fields):
    """A stored completion of that question and answer, in a thread of its own or at the end of a
    conversation.
    """
    where = conversation or Conversation.objects.create(
        user=person.user, kind=ConversationKind.THREAD
    )
    where.last_number += 1
    where.save()
    given = {
        "endpoint": TurnEndpoint.CHAT,
        "status": TurnStatus.COMPLETED,
        "stored": True,
        "model": "m",
        "finish_reason": "stop",
    }
    turn_id = uuid.UUID(new_request_id().removeprefix("req_"))
    given |= {
        "conversation": where,
        "user": person.user,
        "number": where.last_number,
        "usage": USAGE,
    }
    turn = Turn.objects.create(id=turn_id, **given | fields)
    for output, entries in (
        (False, chat_to_items.entries_from_messages(asked)),
        (True, answer or (said(),)),
    ):
        made = [
            Item(
                public_id=items.make_public_id(entry.type, turn_id.hex, place, output=output),
                conversation=where,
                turn=turn,
                output=output,
                type=entry.type,
                role=entry.role,
                text=entry.text,
                data=entry.data,
            )
            for place, entry in enumerate(entries)
        ]
        item_search.add_items_to_index(person.user.pk, Item.objects.bulk_create(made))
    return turn


def name_of(turn):
    return f"chatcmpl-{turn.pk.hex}"


async def listed(gateway, key, **params):
    answer = await gateway.send_request("GET", PATH, key, params=params)
    assert answer.status == 200, answer.body
    return answer.json


# --- one ------------------------------------------------------------------------------------------
async def test_a_stored_completion_is_the_answer_with_what_it_was_asked_for(gateway, alice):
    settings = {"temperature": 0.5, "seed": 7, "user": "u-1"}
    turn = await run_in_thread(
        lambda: kept(
            alice, settings=settings, metadata={"a": "b"}, extra_fields={"steps": [{"t": 1}]}
        )
    )
    answer = await gateway.send_request("GET", f"{PATH}/{name_of(turn)}", alice.key)
    assert answer.status == 200
    found = answer.json
    assert found["id"] == name_of(turn)
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
    answer = [items.make_reasoning_entry("Hm."), said("Let me see."), items.make_call_entry(call)]
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
        first = kept(alice, *answer, finish_reason="tool_calls", extra_fields={"choices": [second]})
        return first, kept(alice, Entry("message", "assistant", refusal, "I won't."))

    first, refused = await run_in_thread(make)
    choices = (await gateway.send_request("GET", f"{PATH}/{name_of(first)}", alice.key)).json[
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
    found = await gateway.send_request("GET", f"{PATH}/{name_of(refused)}", alice.key)
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
    turn = await run_in_thread(kept, alice, entry)
    (choice,) = (await gateway.send_request("GET", f"{PATH}/{name_of(turn)}", alice.key)).json[
        "choices"
    ]
    assert choice["message"]["annotations"] == [note]
    assert choice["logprobs"] == {"content": [logprob], "refusal": None}


async def test_an_answer_that_was_cut_off_is_not_shown_as_finished(gateway, alice):
    turn = await run_in_thread(
        lambda: kept(alice, said("It is"), status=TurnStatus.INCOMPLETE, finish_reason="")
    )
    (choice,) = (await gateway.send_request("GET", f"{PATH}/{name_of(turn)}", alice.key)).json[
        "choices"
    ]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("It is", None)


async def test_what_is_anothers_not_stored_or_not_ended_is_as_if_it_was_not_there(
    gateway, alice, mallory
):
    def make():
        turns = [
            kept(mallory),
            kept(alice, stored=False),
            kept(alice, endpoint=TurnEndpoint.RESPONSE),
        ]
        turns += [kept(alice, status=TurnStatus.FAILED)]
        named = Conversation.objects.create(
            user=alice.user, kind=ConversationKind.NAMED, name="old"
        )
        turns.append(kept(alice, conversation=named))
        Conversation.objects.filter(pk=named.pk).update(expires_at=named.created_at)
        return [name_of(turn) for turn in turns] + [
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
    assert (await listed(gateway, alice.key))["data"] == []
    assert (
        await gateway.send_request("GET", PATH, alice.key, params={"after": names[0]})
    ).status == 404


async def test_the_metadata_can_be_changed(gateway, alice):
    turn = await run_in_thread(lambda: kept(alice, metadata={"a": "b"}))
    path = f"{PATH}/{name_of(turn)}"
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
        return kept(alice)

    path = f"{PATH}/{name_of(await run_in_thread(silence))}"
    refused = await gateway.send_request("POST", path, alice.key, json={"metadata": {"a": "b"}})
    assert (refused.status, refused.error["code"]) == (403, "storage_disabled")
    assert (await gateway.send_request("GET", path, alice.key)).json["metadata"] == {}
    assert (await gateway.send_request("DELETE", path, alice.key)).status == 200


# --- deletion -------------------------------------------------------------------------------------
async def test_deletion_leaves_nothing_of_a_completion_that_stands_alone(gateway, alice):
    turn = await run_in_thread(kept, alice)
    path = f"{PATH}/{name_of(turn)}"
    gone = await gateway.send_request("DELETE", path, alice.key)
    assert gone.json == {"object": "chat.completion.deleted", "id": name_of(turn), "deleted": True}
    assert (await gateway.send_request("GET", path, alice.key)).status == 404
    assert (await gateway.send_request("DELETE", path, alice.key)).status == 404

    def left():
        return [model.objects.count() for model in (Conversation, Turn, Item)]

    assert await run_in_thread(left) == [0, 0, 0]
    assert await run_in_thread(item_search.search_items, alice.user.pk, "seven", 9) == []


async def test_what_goes_on_after_a_deleted_completion_keeps_its_place(gateway, alice):
    def make():
        first = kept(alice, settings={"user": "u"}, metadata={"a": "b"})
        second = kept(alice, conversation=Conversation.objects.get(pk=first.conversation_id))
        branched = kept(alice)
        branch = Conversation.objects.create(
            user=alice.user, kind=ConversationKind.THREAD, base_turn=branched
        )
        return first, second, branched, branch

    first, second, branched, branch = await run_in_thread(make)
    for turn in (first, branched):
        assert (
            await gateway.send_request("DELETE", f"{PATH}/{name_of(turn)}", alice.key)
        ).status == 200
        assert (
            await gateway.send_request("GET", f"{PATH}/{name_of(turn)}", alice.key)
        ).status == 404
        now = await rows.reload_row(turn)
        assert (now.settings, now.metadata, now.extra_fields, now.tokens) == ({}, {}, {}, 0)
        assert not await run_in_thread(turn.items.exists)
    assert (await gateway.send_request("GET", f"{PATH}/{name_of(second)}", alice.key)).status == 200
    assert (await rows.reload_row(branch)).base_turn_id == branched.pk


async def test_a_conversation_keeps_what_a_deleted_completion_said_in_it(gateway, alice):
    def make():
        return kept(
            alice,
            conversation=Conversation.objects.create(
                user=alice.user, kind=ConversationKind.NAMED, name="my chat"
            ),
        )

    turn = await run_in_thread(make)
    assert (
        await gateway.send_request("DELETE", f"{PATH}/{name_of(turn)}", alice.key)
    ).status == 200
    assert (await gateway.send_request("GET", f"{PATH}/{name_of(turn)}", alice.key)).status == 404
    said = await gateway.send_request(
        "GET", f"/v1/conversations/{turn.conversation_id}/items", alice.key
    )
    assert len(said.json["data"]) == 3


# --- the list -------------------------------------------------------------------------------------
async def test_the_list_has_the_oldest_first_and_pages(gateway, alice, mallory):
    def make():
        kept(mallory)
        return [name_of(kept(alice)) for _ in range(5)]

    names = await run_in_thread(make)
    whole = await listed(gateway, alice.key)
    assert [one["id"] for one in whole["data"]] == names
    assert (whole["object"], whole["first_id"], whole["last_id"], whole["has_more"]) == (
        "list",
        names[0],
        names[-1],
        False,
    )
    page = await listed(gateway, alice.key, limit=2, after=names[1])
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (names[2:4], True)
    page = await listed(gateway, alice.key, limit=2, after=names[2], order="desc")
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (names[1::-1], False)
    assert (
        whole["data"][0]
        == (await gateway.send_request("GET", f"{PATH}/{names[0]}", alice.key)).json
    )


@pytest.mark.parametrize("params", [{"limit": "0"}, {"limit": "101"}, {"order": "up"}])
async def test_a_page_is_asked_for_in_a_known_way(gateway, alice, params):
    for path in (PATH, f"{PATH}/{name_of(await run_in_thread(kept, alice))}/messages"):
        answer = await gateway.send_request("GET", path, alice.key, params=params)
        assert (answer.status, answer.error["param"]) == (400, *params)


async def test_the_list_can_be_of_one_model(gateway, alice):
    one, other = await run_in_thread(lambda: (kept(alice), kept(alice, model="other")))
    for model, wanted in (("m", [one]), ("other", [other]), ("none", [])):
        found = await listed(gateway, alice.key, model=model)
        assert [entry["id"] for entry in found["data"]] == [name_of(turn) for turn in wanted]


async def test_the_list_can_be_of_what_bears_some_metadata_whatever_its_name(
    gateway, alice, subtests
):
    def make(name):
        turn = kept(alice, metadata={name: "Graz", "x": "y"})
        others = ({name: "graz"}, {name + "x": "Graz"}, {"x": "Graz"}, {}, {name: "Graz Linz"})
        for metadata in others:
            kept(alice, metadata=metadata)
        return name_of(turn)

    plain, odd = ["topic", "1", "0", "é", "🦜"], ["topic__contains", "a__b", "a.b", "[x]", "$", "%"]
    for name in (*plain, *odd, 'a"b', "a'b", "a\\b"):
        with subtests.test(name=name):
            wanted = await run_in_thread(make, name)
            found = await listed(gateway, alice.key, **{f"metadata[{name}]": "Graz"})
            assert [one["id"] for one in found["data"]] == [wanted]
            both = {f"metadata[{name}]": "Graz", "metadata[x]": "y"}
            assert [one["id"] for one in (await listed(gateway, alice.key, **both))["data"]] == [
                wanted
            ]
            both["metadata[x]"] = "n"
            assert (await listed(gateway, alice.key, **both))["data"] == []


async def test_metadata_that_no_database_could_have_is_refused(gateway, alice):
    for params in ({"metadata[a]": "\0"}, {"metadata[\0]": "a"}, {"model": "\0"}):
        answer = await gateway.send_request("GET", PATH, alice.key, params=params)
        assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")


async def test_only_reading_is_possible_beside_the_relaying_door(gateway, alice):
    for method in ("PUT", "PATCH", "DELETE"):
        assert (await gateway.send_request(method, PATH, alice.key)).status == 405
    assert (await gateway.send_request("GET", PATH)).status == 401
    assert (await gateway.request_chat(alice.key)).status == 200


# --- messages -------------------------------------------------------------------------------------
async def test_the_messages_are_those_of_the_question(gateway, alice):
    picture = {
        "type": "image_url",
        "image_url": {"url": "https://example.org/a.png", "detail": "auto"},
    }
    parts = [{"type": "text", "text": "What is this?"}, picture]
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = [
        {"role": "user", "content": parts, "name": "alice"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
        {"role": "user", "content": "And now?"},
    ]
    turn = await run_in_thread(lambda: kept(alice, asked=asked))
    path = f"{PATH}/{name_of(turn)}/messages"
    found = (await gateway.send_request("GET", path, alice.key)).json
    ids = [f"{name_of(turn)}-{place}" for place in range(4)]
    assert [one["id"] for one in found["data"]] == ids
    assert (found["first_id"], found["last_id"], found["has_more"]) == (ids[0], ids[-1], False)
    assert found["data"][0] == {
        "id": ids[0],
        "role": "user",
        "name": "alice",
        "content": "What is this?",
        "content_parts": parts,
    }
    assert found["data"][1]["tool_calls"] == [call]
    assert found["data"][1]["content"] is None
    assert found["data"][2]["tool_call_id"] == "call_1"
    assert found["data"][3] == {
        "id": ids[3],
        "role": "user",
        "name": None,
        "content": "And now?",
        "content_parts": None,
    }
    page = (
        await gateway.send_request("GET", path, alice.key, params={"after": ids[0], "limit": 2})
    ).json
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (ids[1:3], True)
    page = (
        await gateway.send_request(
            "GET", path, alice.key, params={"after": ids[1], "order": "desc"}
        )
    ).json
    assert [one["id"] for one in page["data"]] == [ids[0]]
    unknown = await gateway.send_request("GET", path, alice.key, params={"after": "x"})
    assert (unknown.status, unknown.error["param"]) == (404, "after")


# --- the official client --------------------------------------------------------------------------
async def test_what_the_official_client_stores_it_finds_again(gateway, upstream, alice):
    async with AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=alice.key, max_retries=0
    ) as client:
        completions = client.chat.completions
        made = await completions.create(
            model="m", messages=ASKED, store=True, metadata={"a": "b"}, temperature=0.5
        )
        found = await completions.retrieve(made.id)
        assert (found.id, found.model, found.created) == (made.id, made.model, made.created)
        assert found.choices[0].message.content == made.choices[0].message.content
        assert found.choices[0].finish_reason == made.choices[0].finish_reason
        assert (found.metadata, found.temperature) == ({"a": "b"}, 0.5)
        assert found.usage.total_tokens == made.usage.total_tokens
        messages = [message.content async for message in completions.messages.list(made.id)]
        assert messages == [message["content"] for message in ASKED]
        unkept = await completions.create(model="m", messages=ASKED)
        with pytest.raises(openai.NotFoundError):
            await completions.retrieve(unkept.id)


async def test_the_official_client_finds_changes_and_deletes_what_is_stored(gateway, alice):
    one, other = await run_in_thread(lambda: (kept(alice, metadata={"a": "b"}), kept(alice)))
    async with AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=alice.key, max_retries=0
    ) as client:
        completions = client.chat.completions
        assert [found.id async for found in completions.list(limit=1)] == [
            name_of(one),
            name_of(other),
        ]
        assert [found.id async for found in completions.list(metadata={"a": "b"}, model="m")] == [
            name_of(one)
        ]
        found = await completions.retrieve(name_of(one))
        assert found.choices[0].message.content == "It is 42."
        assert found.usage.total_tokens == 11
        assert (await completions.update(name_of(one), metadata={"c": "d"})).metadata == {"c": "d"}
        messages = [message async for message in completions.messages.list(name_of(one), limit=1)]
        assert [(message.role, message.content) for message in messages] == [
            ("system", "Be brief."),
            ("user", "What is six by seven?"),
        ]
        assert (await completions.delete(name_of(one))).deleted
        with pytest.raises(openai.NotFoundError) as caught:
            await completions.retrieve(name_of(one))
        assert caught.value.code == "completion_not_found"
