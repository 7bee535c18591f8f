"""Contexts that are too long: compaction within a request, its trigger, and truncation."""

import openai
import pytest

from conversations.messages.items_to_chat import COMPACTION_NOTICE
from conversations.models import Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import send_reply, send_stream

SUMMARY = "A page was made."
LONG = "word " * 2_000
TALK = [
    {"role": "user", "content": "Make a page."},
    {"role": "assistant", "content": LONG},
    {"role": "user", "content": "And a title?"},
]
COMPACT = [{"type": "compaction", "compact_threshold": 1_000}]


def queue_summary(upstream):
    upstream.queue_scripts(send_reply(speech.chat_completion(SUMMARY)))


def last_texts(upstream):
    messages = upstream.last_exchange.request.json["messages"]
    return [(message["role"], message["content"]) for message in messages]


async def test_a_long_input_is_compacted_within_the_request(client, upstream):
    queue_summary(upstream)
    response = await client.responses.create(
        model="m", input=TALK, store=False, context_management=COMPACT
    )
    assert [item.type for item in response.output] == ["compaction", "message"]
    assert SUMMARY not in response.output[0].encrypted_content
    assert last_texts(upstream) == [
        ("user", "Make a page."),
        ("user", COMPACTION_NOTICE + SUMMARY),
        ("user", "And a title?"),
    ]
    endpoints = {row.endpoint for row in await rows.read_usage_records()}
    assert endpoints == {"responses", "responses/compact"}
    # a client that appends the output to its input sends no more than the summary up
    output = [item.to_dict(warnings=False) for item in response.output]
    await client.responses.create(
        model="m",
        store=False,
        context_management=COMPACT,
        input=[*TALK, *output, {"role": "user", "content": "Thanks."}],
    )
    assert last_texts(upstream) == [
        ("user", "Make a page."),
        ("user", "And a title?"),
        ("user", COMPACTION_NOTICE + SUMMARY),
        ("assistant", "Hello there!"),
        ("user", "Thanks."),
    ]


async def test_a_stream_brings_the_compaction_first(client, upstream):
    queue_summary(upstream)
    stream = await client.responses.create(
        model="m", input=TALK, store=False, context_management=COMPACT, stream=True
    )
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    done = [event.item.type for event in events if event.type == "response.output_item.done"]
    assert done == ["compaction", "message"]
    assert [item.type for item in events[-1].response.output] == done


async def test_a_stored_conversation_goes_on_behind_its_compaction(client, upstream):
    first = await client.responses.create(model="m", input=TALK)
    queue_summary(upstream)
    second = await client.responses.create(
        model="m", input="Go on.", previous_response_id=first.id, context_management=COMPACT
    )
    stored = await client.responses.retrieve(second.id)
    assert [item.type for item in stored.output] == ["compaction", "message"]
    await client.responses.create(model="m", input="More.", previous_response_id=second.id)
    texts = last_texts(upstream)
    assert ("user", COMPACTION_NOTICE + SUMMARY) in texts
    assert ("assistant", LONG) not in texts
    assert next(text for role, text in texts if role == "user") == "Make a page."


async def test_a_short_input_is_not_compacted(client, upstream):
    response = await client.responses.create(
        model="m", input=[*TALK[:1], *TALK[2:]], store=False, context_management=COMPACT
    )
    assert [item.type for item in response.output] == ["message"]
    assert len(upstream.requests) == 1


async def test_the_outputs_of_tools_stay_with_their_calls(client, upstream):
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "blue"}
    queue_summary(upstream)
    await client.responses.create(
        model="m", input=[*TALK, call, output], store=False, context_management=COMPACT
    )
    roles = [role for role, _ in last_texts(upstream)]
    assert roles == ["user", "user", "user", "assistant", "tool"]


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_a_trigger_gets_one_compaction_and_nothing_else(client, upstream, streams):
    reply = send_reply(speech.chat_completion(SUMMARY))
    if streams:
        reply = send_stream(*speech.streamed_completion("A page ", "was made."), "[DONE]")
    upstream.queue_scripts(reply)
    made = await client.responses.create(
        model="m",
        input=[*TALK, {"type": "compaction_trigger"}],
        store=False,
        stream=streams,
        tools=[{"type": "function", "name": "look", "parameters": {"type": "object"}}],
    )
    if streams:
        events = [event async for event in made]
        kinds = [event.type for event in events if "output_item" in event.type]
        assert kinds == ["response.output_item.added", "response.output_item.done"]
        made = events[-1].response
    assert (made.status, [item.type for item in made.output]) == ("completed", ["compaction"])
    assert "tools" not in upstream.last_exchange.request.json
    item = made.output[0].to_dict(warnings=False)
    await client.responses.create(
        model="m", store=False, input=[TALK[0], item, {"role": "user", "content": "Go on."}]
    )
    assert ("user", COMPACTION_NOTICE + SUMMARY) in last_texts(upstream)


async def test_a_trigger_compacts_a_stored_conversation(client, upstream):
    first = await client.responses.create(model="m", input=TALK)
    queue_summary(upstream)
    second = await client.responses.create(
        model="m", input=[{"type": "compaction_trigger"}], previous_response_id=first.id
    )
    assert [item.type for item in second.output] == ["compaction"]
    await client.responses.create(model="m", input="Go on.", previous_response_id=second.id)
    assert last_texts(upstream) == [
        ("user", "Make a page."),
        ("user", "And a title?"),
        ("user", COMPACTION_NOTICE + SUMMARY),
        ("user", "Go on."),
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [{"type": "compaction_trigger"}, TALK[0]]}, "input[0]"),
        ({"input": [{"type": "compaction_trigger"}]}, "input"),
        ({"context_management": [{"type": "clear"}]}, "context_management[0].type"),
        (
            {"context_management": [{"type": "compaction", "compact_threshold": 0}]},
            "context_management[0].compact_threshold",
        ),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ],
)
async def test_a_wrong_wish_names_its_field(client, upstream, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="m", extra_body={"input": TALK} | fields)
    assert caught.value.param.replace("[...]", "[0]") in (param, param.replace("[0]", ""))
    assert not upstream.requests
    assert await run_in_thread(Turn.objects.count) == 0


@pytest.fixture
def small_window(provider):
    """Give the model a window of 3,000 tokens."""
    provider.models.update(context_window=3_000)


async def test_auto_drops_the_oldest_turns(small_window, gateway, client, upstream):
    talk = [{"role": "system", "content": "Be short."}]
    for number in range(4):
        talk += [
            {"role": "user", "content": f"Question {number}"},
            {"role": "assistant", "content": "word " * 800},
        ]
    talk.append({"role": "user", "content": "The last one"})
    await client.responses.create(model="m", input=talk, store=False, truncation="auto")
    texts = last_texts(upstream)
    assert texts[0] == ("system", "Be short.")
    assert texts[-1] == ("user", "The last one")
    assert ("user", "Question 0") not in texts
    assert ("user", "Question 3") in texts


async def test_disabled_refuses_what_does_not_fit(small_window, gateway, client, upstream):
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(
            model="m", input="word " * 5_000, store=False, truncation="disabled"
        )
    assert caught.value.code == "context_length_exceeded"
    first = await client.responses.create(model="m", input="word " * 1_800)
    second = await client.responses.create(
        model="m", input="word " * 900, previous_response_id=first.id
    )
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(
            model="m",
            input="word " * 1_800,
            previous_response_id=second.id,
            truncation="disabled",
        )
    assert caught.value.code == "context_length_exceeded"
