"""Chat requests as Anthropic's Messages API gets them, through the gateway."""

import base64

import pytest

from proxysite.testing import rows
from proxysite.testing.anthropic_speech import answer_message, text_block

USER = {"role": "user", "content": "Hi"}
MARK = {"type": "ephemeral"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


async def send_chat(gateway, person, upstream, **body):
    """Return the body that the upstream got for a chat request."""
    answer = await gateway.request_chat(person.key, **body)
    assert answer.status == 200, answer.body
    return upstream.last_exchange.request.json


async def test_system_messages_and_the_callers_limits_are_sent(gateway, alice, upstream):
    system = {"role": "system", "content": "Be brief."}
    sent = await send_chat(
        gateway,
        alice,
        upstream,
        messages=[system, USER],
        max_completion_tokens=50,
        stop=["END", "  "],
        user="june",
    )
    assert sent == {
        "model": "claude-opus-4-8",
        "max_tokens": 50,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "stop_sequences": ["END"],
        "metadata": {"user_id": "june"},
    }


async def test_fields_that_only_tune_are_left_out_and_named(gateway, alice, upstream):
    answer = await gateway.request_chat(
        alice.key, seed=1, presence_penalty=0.5, logit_bias={"1": 2}, temperature=0.5, n=1
    )
    assert answer.status == 200
    omitted = ["logit_bias", "presence_penalty", "seed", "temperature"]
    assert answer.headers["x-proxysite-omitted"] == ", ".join(omitted)
    assert (await rows.read_only_usage_record()).attempts[0]["omitted"] == omitted


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("modalities", ["text", "audio"]),
        ("functions", [{"name": "f"}]),
        ("reasoning_effort", "enormous"),
    ],
)
async def test_another_kind_of_answer_is_refused_with_the_field(
    gateway, alice, upstream, field, value
):
    answer = await gateway.request_chat(alice.key, **{field: value})
    assert (answer.status, answer.error["param"]) == (400, field)
    assert upstream.requests == []


async def test_sound_is_refused_with_its_place(gateway, alice, upstream):
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    text = {"type": "text", "text": "What is this?"}
    messages = [{"role": "user", "content": [text, sound]}]
    answer = await gateway.request_chat(alice.key, messages=messages)
    assert (answer.status, answer.error["param"]) == (400, "messages[0].content[1]")


async def test_a_pdf_is_a_document_or_its_text_where_the_row_takes_no_files(
    gateway, alice, upstream
):
    data = base64.b64encode(b"Sunny.").decode()
    files = [
        {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"},
        {"filename": "a.txt", "file_data": f"data:text/plain;base64,{data}"},
    ]
    pdf, text = ([{"role": "user", "content": [{"type": "file", "file": f}]}] for f in files)
    sent = await send_chat(gateway, alice, upstream, messages=pdf)
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    document = {"type": "document", "source": source, "title": "a.pdf"}
    assert sent["messages"][0]["content"] == [document]
    sent = await send_chat(gateway, alice, upstream, model="m-texts", messages=text)
    assert "Sunny." in sent["messages"][0]["content"][0]["text"]


async def test_of_a_web_page_its_text_is_sent_and_a_file_without_text_is_refused(
    gateway, alice, upstream
):
    page = base64.b64encode(b"<html><body><p>Sunny.</p></body></html>").decode()
    file = {"filename": "a.html", "file_data": f"data:text/html;base64,{page}"}
    messages = [{"role": "user", "content": [{"type": "file", "file": file}]}]
    sent = await send_chat(gateway, alice, upstream, messages=messages)
    source = {"type": "text", "media_type": "text/plain", "data": "\nSunny.\n"}
    assert sent["messages"][0]["content"] == [
        {"type": "document", "source": source, "title": "a.html"}
    ]
    file |= {"filename": "a.bin", "file_data": "data:application/x-unknown;base64,AAEC"}
    answer = await gateway.request_chat(alice.key, messages=messages)
    assert (answer.status, answer.error["param"]) == (400, "messages[0].content[0]")


async def test_cache_marks_are_the_callers_or_those_that_the_row_asks_for(gateway, alice, upstream):
    system = {"role": "system", "content": "Long."}
    plain = {"messages": [system, USER], "tools": [TOOL]}
    sent = await send_chat(gateway, alice, upstream, model="m-cached", **plain)
    assert sent["system"][-1]["cache_control"] == MARK
    assert sent["tools"][-1]["cache_control"] == MARK
    assert sent["messages"][-1]["content"][-1]["cache_control"] == MARK
    part = {"type": "text", "text": "Long.", "cache_control": MARK}
    marked = plain | {"messages": [system | {"content": [part]}, USER]}
    for model in ("m", "m-cached"):
        sent = await send_chat(gateway, alice, upstream, model=model, **marked)
        assert sent["system"] == [part]
        assert "cache_control" not in sent["tools"][-1] | sent["messages"][-1]["content"][-1]


async def test_the_responses_api_runs_over_it_with_a_tool(gateway, alice, upstream):
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
    thought = {"type": "thinking", "thinking": "Rome.", "signature": "sig=="}
    upstream.queue_scripts(
        answer_message(thought, call, stop="tool_use"), answer_message(text_block("Sunny."))
    )
    first = await gateway.send_request(
        "POST", "/v1/responses", alice.key, json={"model": "m", "input": "Rome?", "tools": [tool]}
    )
    assert first.status == 200, first.body
    (item,) = [item for item in first.json["output"] if item["type"] == "function_call"]
    output = {"type": "function_call_output", "call_id": item["call_id"], "output": "25 degrees"}
    body = {"model": "m", "input": [output], "previous_response_id": first.json["id"]}
    second = await gateway.send_request(
        "POST", "/v1/responses", alice.key, json=body | {"tools": [tool], "stream": True}
    )
    assert "Sunny." in second.body.decode()
    sent = upstream.last_exchange.request.json["messages"]
    assert sent[1]["content"] == [thought, call]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "25 degrees"}
    assert sent[2]["content"] == [result]
