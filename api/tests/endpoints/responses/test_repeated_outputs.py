"""Outputs and questions that a client brings although the log has them (F15)."""

import pytest

from conversations.models import Item
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel
from proxysite.testing import speech
from proxysite.testing.upstream import send_reply

QUESTION = {"role": "user", "content": "Weather?"}
TOOLS = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]


def call(call_id):
    function = {"name": "weather", "arguments": "{}"}
    message = {"tool_calls": [{"id": call_id, "type": "function", "function": function}]}
    return send_reply(speech.chat_completion(None, message=message, finish="tool_calls"))


def call_item(call_id):
    return {"type": "function_call", "call_id": call_id, "name": "weather", "arguments": "{}"}


def output(call_id, text):
    return {"type": "function_call_output", "call_id": call_id, "output": text}


async def respond(gateway, person, *items, **fields):
    body = {"model": "m", "input": list(items), "tools": TOOLS} | fields
    answer = await gateway.send_request("POST", "/v1/responses", person.key, json=body)
    assert answer.status == 200, answer.body
    return answer.json["id"]


def told(upstream):
    return [
        (message["role"], message.get("content"))
        for message in upstream.last_exchange.request.json["messages"]
    ]


ROUNDS = [
    ("user", "Weather?"),
    ("assistant", None),
    ("tool", "rain"),
    ("assistant", None),
    ("tool", "sun"),
]


@pytest.mark.parametrize("ids", [("c1", "c2"), ("c", "c")], ids=["own ids", "one id again"])
async def test_all_outputs_so_far_are_brought_with_each_request(gateway, upstream, alice, ids):
    """Semantic Kernel's Responses agent sends them beside `previous_response_id`."""
    upstream.queue_scripts(call(ids[0]), call(ids[1]))
    first = await respond(gateway, alice, QUESTION)
    rain, sun = output(ids[0], "rain"), output(ids[1], "sun")
    second = await respond(gateway, alice, QUESTION, rain, previous_response_id=first)
    assert told(upstream) == ROUNDS[:3]
    await respond(gateway, alice, QUESTION, rain, sun, previous_response_id=second)
    assert told(upstream) == ROUNDS
    types = await run_in_thread(
        lambda: list(Item.objects.filter(output=False).order_by("id").values_list("type", "text"))
    )
    assert types == [
        ("message", "Weather?"),
        ("function_call_output", "rain"),
        ("function_call_output", "sun"),
    ]


async def test_calls_may_be_brought_again_with_their_outputs(gateway, upstream, alice):
    upstream.queue_scripts(call("c1"), call("c2"))
    talk = await gateway.send_request("POST", "/v1/conversations", alice.key, json={})
    more = {"conversation": talk.json["id"]}
    await respond(gateway, alice, QUESTION, **more)
    await respond(gateway, alice, call_item("c1"), output("c1", "rain"), **more)
    items = [
        call_item("c1"), output("c1", "rain"), call_item("c2"), output("c2", "sun")
    ]  # fmt: skip
    await respond(gateway, alice, *items, **more)
    assert told(upstream) == ROUNDS


async def test_an_output_may_stand_twice_in_one_input(gateway, upstream, alice):
    items = [QUESTION, call_item("c1"), output("c1", "rain"), output("c1", "rain")]
    await respond(gateway, alice, *items, store=False)
    assert told(upstream) == ROUNDS[:3]


async def test_nothing_is_kept_and_outputs_are_brought_again(gateway, upstream, alice):
    upstream.queue_scripts(call("c1"), call("c2"))
    first = await respond(gateway, alice, QUESTION)
    second = await respond(gateway, alice, output("c1", "rain"), previous_response_id=first)
    items = [QUESTION, output("c1", "rain"), output("c2", "sun")]
    await respond(gateway, alice, *items, previous_response_id=second, store=False)
    assert told(upstream) == ROUNDS


async def test_an_output_of_a_call_that_no_longer_fits_the_window_is_passed_over(
    gateway, upstream, alice
):
    await run_in_thread(ChatModel.objects.all().update, context_window=200)
    await gateway.reload_rows()
    upstream.queue_scripts(call("c1"), call("c2"))
    first = await respond(gateway, alice, QUESTION)
    long_text = "rain " * 400
    second = await respond(gateway, alice, output("c1", long_text), previous_response_id=first)
    items = [output("c1", long_text), output("c2", "sun")]
    await respond(gateway, alice, *items, previous_response_id=second)
    assert told(upstream)[-1] == ("tool", "sun")


async def test_the_same_question_after_an_answer_is_a_new_one(gateway, upstream, alice):
    first = await respond(gateway, alice, QUESTION)
    await respond(gateway, alice, QUESTION, previous_response_id=first)
    assert [role for role, _ in told(upstream)] == ["user", "assistant", "user"]


async def test_another_question_beside_an_output_is_kept(gateway, upstream, alice):
    upstream.queue_scripts(call("c1"))
    first = await respond(gateway, alice, QUESTION)
    question = {"role": "user", "content": "And tomorrow?"}
    await respond(gateway, alice, question, output("c1", "rain"), previous_response_id=first)
    assert told(upstream) == [*ROUNDS[:3], ("user", "And tomorrow?")]


async def test_an_output_without_any_call_is_still_refused(gateway, upstream, alice):
    first = await respond(gateway, alice, QUESTION)
    body = {"model": "m", "input": [output("c9", "x")], "previous_response_id": first}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    assert (answer.status, answer.error["code"]) == (400, "call_not_found")
