"""What the upstream is told of earlier turns, by every way to go on with a conversation."""

import pytest

from api.tests.endpoints.chat_messages import (
    answer_texts,
    assistant_message,
    get_sent_messages,
    user_message,
)
from api.tests.endpoints.conversations.turns import CHAT, list_items, send_turn
from conversations.models import Conversation, Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech
from proxysite.testing.upstream import send_reply


async def test_a_conversation_goes_on_by_path_by_field_and_as_a_session(gateway, upstream, alice):
    for name, path, more in (
        ("by path", f"{CHAT}/by%20path", {}),
        ("by field", CHAT, {"conversation_id": "by field"}),
        ("as a session", CHAT, {"session_id": "as a session"}),
    ):
        upstream.queue_scripts(*answer_texts("Hello Ann.", "You are Ann."))
        first = await send_turn(gateway, alice, "I am Ann.", path, **more)
        assert (first.status, first.text) == (200, "Hello Ann.")
        second = await send_turn(gateway, alice, "Who am I?", path, **more)
        assert get_sent_messages(upstream) == [
            user_message("I am Ann."),
            assistant_message("Hello Ann."),
            user_message("Who am I?"),
        ]
        field = "session_id" if name == "as a session" else "conversation_id"
        assert (second.json[field], second.text) == (name, "You are Ann.")
        assert "conversation_id" not in upstream.requests[-1].json
    kinds = await run_in_thread(
        lambda: set(Conversation.objects.values_list("kind", "name", "title"))
    )
    assert kinds == {
        ("named", name, "I am Ann.") for name in ("by path", "by field", "as a session")
    }


async def test_what_a_client_repeats_of_the_conversation_is_not_said_twice(
    gateway, upstream, alice
):
    upstream.queue_scripts(*answer_texts("One.", "Two.", "Three.", "Four."))
    said = [{"role": "system", "content": "Count."}]
    for number in ("1", "2", "3"):
        said.append(user_message(number))
        answer = await gateway.request_chat(alice.key, messages=said, conversation_id="c")
        assert get_sent_messages(upstream) == said
        said.append(assistant_message(answer.text))
    await gateway.request_chat(
        alice.key, messages=[assistant_message("Three."), user_message("4")], conversation_id="c"
    )  # the end of it
    assert get_sent_messages(upstream) == [*said, user_message("4")]
    texts = [item.text for item in await list_items()]
    assert texts == ["Count.", "1", "One.", "2", "Two.", "3", "Three.", "4", "Four."]


async def test_new_instructions_replace_the_old_ones(gateway, upstream, alice):
    upstream.queue_scripts(*answer_texts("One.", "Two.", "Three."))
    brief, long = ({"role": "system", "content": text} for text in ("Be brief.", "Be long."))
    await gateway.request_chat(alice.key, messages=[brief, user_message("1")], conversation_id="c")
    await gateway.request_chat(alice.key, messages=[user_message("2")], conversation_id="c")
    assert get_sent_messages(upstream) == [
        brief,
        user_message("1"),
        assistant_message("One."),
        user_message("2"),
    ]
    await gateway.request_chat(alice.key, messages=[long, user_message("3")], conversation_id="c")
    assert get_sent_messages(upstream) == [
        long,
        user_message("1"),
        assistant_message("One."),
        user_message("2"),
        assistant_message("Two."),
        user_message("3"),
    ]


async def test_a_conversation_of_the_same_name_is_another_one_for_another_user(
    gateway, upstream, alice, mallory
):
    upstream.queue_scripts(*answer_texts("Hello Ann.", "Who knows."))
    await send_turn(gateway, alice, "I am Ann.", conversation_id="diary")
    await send_turn(gateway, mallory, "Who am I?", conversation_id="diary")
    assert get_sent_messages(upstream) == [user_message("Who am I?")]
    assert await run_in_thread(Conversation.objects.count) == 2


@pytest.mark.parametrize("prefix", ["conv_", "resp_", "chatcmpl-"])
async def test_openais_ids_must_exist_and_be_ones_own(gateway, upstream, alice, mallory, prefix):
    upstream.queue_scripts(*answer_texts("Hello Ann."))
    first = await send_turn(gateway, alice, "I am Ann.", conversation_id="c", store=True)
    row = await run_in_thread(Conversation.objects.get)
    known = {
        "conv_": row.pk,
        "resp_": first.json["id"].replace("chatcmpl-", "resp_"),
        "chatcmpl-": first.json["id"],
    }
    unknown = known[prefix][:-4] + "0000"
    answers = [
        await send_turn(gateway, mallory, "Who am I?", conversation_id=name)
        for name in (known[prefix], unknown)
    ]
    assert {answer.status for answer in answers} == {404}
    texts = [
        answer.body.replace(name.encode(), b"ID")
        for answer, name in zip(answers, (known[prefix], unknown), strict=True)
    ]
    assert texts[0] == texts[1]
    assert len(upstream.requests) == 1
    assert await run_in_thread(Turn.objects.count) == 1


async def test_a_conversation_goes_on_by_its_openai_id_and_after_a_stored_completion(
    gateway, upstream, alice
):
    upstream.queue_scripts(*answer_texts("Hello Ann.", "You are Ann.", "Ann."))
    first = await send_turn(gateway, alice, "I am Ann.", conversation_id="c", store=True)
    row = await run_in_thread(Conversation.objects.get)
    await send_turn(gateway, alice, "Who am I?", conversation_id=row.pk)
    assert get_sent_messages(upstream) == [
        user_message("I am Ann."),
        assistant_message("Hello Ann."),
        user_message("Who am I?"),
    ]
    await send_turn(
        gateway, alice, "And now?", conversation_id=first.json["id"]
    )  # branches off after the first turn
    assert get_sent_messages(upstream) == [
        user_message("I am Ann."),
        assistant_message("Hello Ann."),
        user_message("And now?"),
    ]
    assert await run_in_thread(lambda: row.turns.count()) == 2


async def test_what_is_told_is_bounded_by_the_window_in_whole_turns(
    gateway, upstream, provider, alice
):
    await run_in_thread(provider.models.update, context_window=500)
    await gateway.reload_rows()
    upstream.set_default_script(send_reply(speech.chat_completion("x" * 200)))
    for number in range(30):
        await send_turn(gateway, alice, f"{number:03} " + "y" * 200, conversation_id="c")
    messages = get_sent_messages(upstream)
    assert [message["role"] for message in messages] == ["user", "assistant"] * 3 + ["user"]
    assert [message["content"][:3] for message in messages[::2]] == ["026", "027", "028", "029"]
