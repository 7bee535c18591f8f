"""/v1/responses/compact: the user's messages stay, and a summary takes the place of the rest."""

import openai
import pytest

from api.models import LimitSet
from conversations.messages.items_to_chat import COMPACTION_NOTICE
from conversations.models import Turn
from conversations.prompts.compaction import COMPACTION_PROMPT
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import send_refusal, send_reply

COMPACT = "/v1/responses/compact"
SUMMARY = "A page for cafe 東京 was made in index.html."
CALL = {"type": "function_call", "call_id": "c1", "name": "write", "arguments": '{"file":"a"}'}
TALK = [
    {"role": "developer", "content": "Answer in one line."},
    {"role": "user", "content": "Make a page."},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
    {"role": "assistant", "content": "I write it."},
    CALL,
    {"type": "function_call_output", "call_id": "c1", "output": "12 bytes written"},
    {"role": "user", "content": [{"type": "input_text", "text": "And a title?"}]},
]
TOOL = {"type": "function", "name": "write", "parameters": {"type": "object"}}


def queue_summary(upstream, text=SUMMARY, **fields):
    upstream.queue_scripts(send_reply(speech.chat_completion(text, **fields)))


async def compact(gateway, person, **fields):
    body = {"model": "m", "input": TALK} | fields
    return await gateway.send_request("POST", COMPACT, person.key, json=body)


def read_prompt(upstream):
    system, user = upstream.last_exchange.request.json["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    return system["content"], user["content"]


async def test_user_messages_stay_and_one_item_takes_the_place_of_the_rest(client, upstream):
    queue_summary(upstream)
    made = await client.responses.compact(model="m", input=TALK)
    assert made.object == "response.compaction"
    assert [item.type for item in made.output] == ["message", "message", "compaction"]
    messages = [item.to_dict(warnings=False) for item in made.output[:2]]
    assert [message["role"] for message in messages] == ["user", "user"]
    assert [message["content"] for message in messages] == [
        [{"type": "input_text", "text": "Make a page."}],
        [{"type": "input_text", "text": "And a title?"}],
    ]
    assert len({item.id for item in made.output}) == 3
    assert SUMMARY not in made.output[2].encrypted_content
    assert (made.usage.input_tokens, made.usage.output_tokens) == (9, 3)


async def test_a_model_reads_the_whole_conversation_as_a_text(gateway, upstream, alice):
    queue_summary(upstream)
    answer = await compact(gateway, alice, instructions="Keep file names.", tools=[TOOL])
    assert answer.status == 200, answer.body
    sent = upstream.last_exchange.request.json
    assert sent.keys() == {"model", "messages"}
    system, transcript = read_prompt(upstream)
    assert system.startswith(COMPACTION_PROMPT)
    assert system.endswith("Keep file names.")
    for text in (
        "Instructions:\nAnswer in one line.",
        "User:\nMake a page.",
        "Assistant:\nI write it.",
        'write({"file":"a"})',
        "12 bytes written",
        "User:\nAnd a title?",
    ):
        assert text in transcript
    assert "Hm." not in transcript


@pytest.mark.parametrize("stores", [True, False])
async def test_a_later_request_has_the_summary_in_its_context(client, upstream, stores):
    queue_summary(upstream)
    queue_summary(upstream, "Café.")
    queue_summary(upstream, "Bye.")
    made = await client.responses.compact(model="m", input=TALK)
    output = [item.to_dict(warnings=False) for item in made.output]
    question = {"role": "user", "content": "Go on."}
    answer = await client.responses.create(model="m", input=[*output, question], store=stores)
    expected = [
        {"role": "user", "content": "Make a page."},
        {"role": "user", "content": "And a title?"},
        {"role": "user", "content": COMPACTION_NOTICE + SUMMARY},
        {"role": "user", "content": "Go on."},
    ]
    assert upstream.last_exchange.request.json["messages"] == expected
    if stores:
        await client.responses.create(model="m", input="Thanks.", previous_response_id=answer.id)
        assert upstream.last_exchange.request.json["messages"][:4] == expected
        listed = await client.responses.input_items.list(answer.id, order="asc")
        assert listed.data[2].encrypted_content == output[2]["encrypted_content"]


async def test_what_was_compacted_before_is_part_of_the_next_summary(client, upstream):
    queue_summary(upstream)
    queue_summary(upstream, "Both.")
    made = await client.responses.compact(model="m", input=TALK)
    again = [
        *(item.to_dict(warnings=False) for item in made.output),
        {"role": "user", "content": "More."},
    ]
    made = await client.responses.compact(model="m", input=again)
    assert SUMMARY in read_prompt(upstream)[1]
    assert [item.type for item in made.output] == ["message"] * 3 + ["compaction"]


async def test_the_history_before_is_compacted_too_and_is_its_owners(client, stranger, upstream):
    queue_summary(upstream, "One.")
    queue_summary(upstream)
    first = await client.responses.create(model="m", input="Count.")
    made = await client.responses.compact(model="m", previous_response_id=first.id)
    assert read_prompt(upstream)[1].endswith("User:\nCount.\n\nAssistant:\nOne.")
    assert [item.type for item in made.output] == ["message", "compaction"]
    with pytest.raises(openai.NotFoundError) as caught:
        await stranger.responses.compact(model="m", previous_response_id=first.id)
    assert caught.value.code == "previous_response_not_found"
    assert await run_in_thread(Turn.objects.count) == 1


async def test_it_is_recorded_and_refused_like_any_request(gateway, upstream, alice):
    queue_summary(upstream)
    upstream.queue_scripts(send_refusal(400, "invalid_value", "messages[1] is bad"))
    assert (await compact(gateway, alice)).status == 200
    refused = await compact(gateway, alice)
    assert refused.status == 400
    records = await rows.read_usage_records()
    assert [record.endpoint for record in records] == ["responses/compact"] * 2
    assert [(record.status, record.prompt_tokens) for record in records] == [
        ("complete", 9),
        ("error", 0),
    ]
    other = await run_in_thread(lambda: rows.create_person("bob", models=["other"]))
    assert (await compact(gateway, other)).status in (401, 403)
    assert len(upstream.requests) == 2


@pytest.fixture
def one_a_minute(alice):
    return LimitSet.objects.create(key=alice.row, requests_per_minute=1)


async def test_it_counts_as_a_request_of_its_key(alice, one_a_minute, gateway, upstream):
    queue_summary(upstream)
    answer = await compact(gateway, alice)
    assert (answer.status, answer.headers["x-ratelimit-remaining-requests"]) == (200, "0")
    refused = await compact(gateway, alice)
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert len(upstream.requests) == 1


async def test_a_summary_that_was_cut_off_says_so_and_an_empty_one_is_an_error(
    gateway, upstream, alice
):
    queue_summary(upstream, "Half", finish="length")
    queue_summary(upstream, "")
    queue_summary(upstream, "Yes.")
    cut = await compact(gateway, alice)
    empty = await compact(gateway, alice)
    assert (empty.status, empty.error["code"]) == (502, "bad_upstream_response")
    body = {"model": "m", "input": cut.json["output"]}
    await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    text = upstream.last_exchange.request.json["messages"][-1]["content"]
    assert text.endswith("Half\n\n[This answer was cut off before its end.]")


async def test_a_model_with_a_strategy_is_asked_once(gateway, upstream, alice):
    await run_in_thread(lambda: rows.create_virtual_model("deep", "m", "stepwise"))
    await gateway.reload_rows()
    queue_summary(upstream)
    assert (await compact(gateway, alice, model="deep")).status == 200
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream": True}, "stream"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": 7}, "input"),
        ({"input": [{"type": "compaction", "encrypted_content": "proxysite.%"}]}, None),
    ],
    ids=["stream", "background", "conversation", "empty", "missing", "type", "damaged"],
)
async def test_what_cannot_be_compacted_is_refused_by_name(gateway, alice, fields, param):
    answer = await compact(gateway, alice, **fields)
    assert answer.status == 400
    assert answer.error["param"] == (param or "input[0].encrypted_content")
