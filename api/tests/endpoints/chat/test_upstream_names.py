"""An answer names the provider and the model that it comes from, in headers; an error names
nobody.
"""

import pytest

from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel
from proxysite.testing.upstream import keep_silent, send_refusal

PROVIDER, MODEL = "x-proxysite-provider", "x-proxysite-model"


@WHOLE_AND_STREAMED
async def test_an_answer_names_whose_it_is(gateway, upstream, alice, second, streams):
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.headers[PROVIDER], answer.headers[MODEL]) == ("fake", "upstream-model")
    upstream.queue_scripts(send_refusal(503))
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.headers[PROVIDER], answer.headers[MODEL]) == (
        200,
        "second",
        "second-model",
    )


@WHOLE_AND_STREAMED
async def test_a_response_names_whose_it_is(gateway, upstream, alice, streams):
    body = {"model": "m", "input": "Hello!", "stream": streams}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    assert (answer.status, answer.headers[PROVIDER], answer.headers[MODEL]) == (
        200,
        "fake",
        "upstream-model",
    )


@WHOLE_AND_STREAMED
async def test_an_error_names_nobody(gateway, upstream, alice, streams):
    upstream.queue_scripts(send_refusal(400))
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert answer.status == 400
    assert not {PROVIDER, MODEL} & set(answer.headers)


@pytest.mark.settings(PING_SECONDS=0.05, FIRST_BYTE_SECONDS=0.5)
async def test_a_stream_that_has_to_begin_before_anybody_answers_names_nobody(
    gateway, upstream, alice, second
):
    upstream.queue_scripts(keep_silent)
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.text == "Hello there!"
    assert not {PROVIDER, MODEL} & set(answer.headers)


async def test_names_beyond_ascii_are_percent_encoded(gateway, upstream, alice):
    await run_in_thread(ChatModel.objects.filter(public_id="m").update, upstream_name="模型/v1")
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert answer.headers[MODEL] == "%E6%A8%A1%E5%9E%8B/v1"


@WHOLE_AND_STREAMED
@pytest.mark.settings(NAME_UPSTREAMS=False)
async def test_an_operator_can_keep_the_names_back(gateway, upstream, alice, streams):
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert answer.status == 200
    assert not {PROVIDER, MODEL} & set(answer.headers)
