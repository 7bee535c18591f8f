"""/v1/moderations with OpenAI's own client."""

from api.tests.endpoints.relayed.relayed_requests import open_client
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal, send_reply

RESULT = {
    "flagged": True,
    "categories": {"violence": True},
    "category_scores": {"violence": 0.9},
    "category_applied_input_types": {"violence": ["text"]},
}
ANSWER = {"id": "modr-1", "model": "upstream-model", "results": [RESULT]}


async def test_a_text_is_judged(gateway, upstream, alice, three):
    upstream.queue_scripts(send_refusal(429), send_reply(ANSWER))
    async with open_client(gateway, alice) as client:
        answer = await client.moderations.create(model="m", input="I want to …")
    assert (answer.id, answer.model, answer.results[0].flagged) == ("modr-1", "m", True)
    assert upstream.requests[1].path == "/v1/moderations"
    assert upstream.requests[1].json == {"model": "upstream-model", "input": "I want to …"}
    row = await rows.read_only_usage_record()
    assert (row.endpoint, row.status, row.completion_tokens) == ("moderations", "complete", 0)
    assert row.estimated


async def test_texts_and_images_are_judged(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(ANSWER))
    given = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]
    async with open_client(gateway, alice) as client:
        await client.moderations.create(model="m", input=given)
    assert upstream.requests[0].json["input"] == given


async def test_without_a_model_the_latest_of_openai_is_used(gateway, upstream, alice, provider):
    answer = await gateway.send_request(
        "POST", "/v1/moderations", alice.key, json={"input": "Hello"}
    )
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert "omni-moderation-latest" in answer.error["message"]
    await run_in_thread(
        rows.create_model, provider, "omni-moderation-latest", capabilities=["moderation"]
    )
    await gateway.reload_rows()
    upstream.queue_scripts(send_reply(ANSWER))
    async with open_client(gateway, alice) as client:
        assert (await client.moderations.create(input="Hello")).model == "omni-moderation-latest"


async def test_a_wrong_request_is_a_400(gateway, upstream, alice, subtests):
    for body in ({"model": "m"}, {"model": "m", "input": []}, {"model": "m", "input": 5}):
        with subtests.test(body=body):
            answer = await gateway.send_request("POST", "/v1/moderations", alice.key, json=body)
            assert (answer.status, answer.error["param"]) == (400, "input")
    assert upstream.requests == []
