"""/v1/completions, whole and streamed."""

import pytest

from api.tests.endpoints.model_requests import COMPLETIONS, request_model
from proxysite.testing import rows, speech
from proxysite.testing.upstream import CUT, DONE, send_reply, send_stream


# --- completions ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "prompt",
    ["Say hi", ["Say", "hi"], [1, 2, 3], [[1, 2], [3]]],
    ids=["text", "texts", "tokens", "token lists"],
)
async def test_a_legacy_completion_is_relayed(gateway, upstream, alice, prompt):
    answer = await request_model(
        gateway, alice, COMPLETIONS, prompt=prompt, max_tokens=5, suffix="!"
    )
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
    answer = await request_model(
        gateway, alice, COMPLETIONS, prompt="Say hi", stream=True, **options
    )
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
    answer = await request_model(gateway, alice, COMPLETIONS, prompt="Say hi", stream=True)
    assert answer.status == 200
    assert answer.is_complete
    assert (
        "".join(choice["text"] for event in answer.events for choice in event["choices"]) == "Hi."
    )
    assert answer.finish_reasons == ["stop"]


async def test_a_legacy_completion_cut_in_the_middle_never_looks_finished(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(speech.text_completion("Hel", None), upstream.gate, CUT))
    upstream.gate.open()
    answer = await request_model(gateway, alice, COMPLETIONS, prompt="Say hi", stream=True)
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
            answer = await request_model(
                gateway, alice, COMPLETIONS, **({"prompt": "x"} | body if body else {})
            )
            assert answer.status == 400
            assert answer.error["param"].startswith(param)
            assert upstream.requests == []


# --- health ---------------------------------------------------------------------------------------
async def test_done_is_not_said_twice(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(speech.text_completion("a", "stop"), DONE, DONE))
    assert (await request_model(gateway, alice, COMPLETIONS, prompt="x", stream=True)).is_complete
