"""Endpoints of models that think in steps: OpenKimi's old route, options, others."""

from api.tests.endpoints.strategies.stepwise_answers import MATHS, send_step, send_three_steps


async def test_options_that_cannot_be_used_are_named(
    gateway, upstream, alice, create_stepwise_model, caplog
):
    await create_stepwise_model(max_steps="many")
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert answer.status == 500
    assert "max_steps" in answer.error["message"]
    assert upstream.requests == []
    caplog.clear()


async def test_the_old_route_thinks_in_steps_over_any_model(gateway, upstream, alice):
    for streams in (False, True):
        upstream.queue_scripts(*send_three_steps())
        body = {"model": "m", "messages": MATHS, "stream": streams}
        answer = await gateway.send_request(
            "POST", "/v1/chat/completions/cot", alice.key, json=body
        )
        assert (answer.status, answer.text) == (200, "Hello there!")
        assert "Step 3: Three" in answer.body.decode()
    assert (await gateway.send_request("GET", "/v1/chat/completions/cot", alice.key)).status == 405
    assert (await gateway.send_request("POST", "/v1/chat/completions/cot", json={})).status == 401


async def test_the_old_route_takes_the_options_of_a_model_that_thinks_so_anyway(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model(min_steps=1, format="markdown")
    upstream.queue_scripts(send_step("One", "Only.", "final_answer"))
    body = {"model": "o1-m", "messages": MATHS}
    answer = await gateway.send_request("POST", "/v1/chat/completions/cot", alice.key, json=body)
    assert answer.text.startswith("## Step 1: One")


async def test_other_endpoints_of_such_a_model_are_asked_plainly(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model()
    body = {"model": "o1-m", "prompt": "Say"}
    answer = await gateway.send_request("POST", "/v1/completions", alice.key, json=body)
    assert answer.json["choices"][0]["text"] == "Hello there!"
    assert len(upstream.requests) == 1
