"""A row of the web site's kind, made by hand, is as good as the preset's: A8."""

import pytest
from django.core.management import call_command

from api.tests.endpoints.k2think.k2think_site import (
    read_message,
    request_k2think,
    send_snapshots,
    site_api,
)
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows

TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
    }
]


@pytest.fixture
async def provider(upstream, transactional_db):
    """Return a row made by `add_provider --kind`, with the loopback server in the site's place."""

    def make() -> Provider:
        words = ("--kind", "k2think_web", "--base-url", "https://www.k2think.ai/api")
        call_command("add_provider", "fake", *words, "--model", "mine=MBZUAI-IFM/K2-Think-v2")
        row = Provider.objects.get(name="fake")
        rows.move_providers(row, base_url=site_api(upstream), allow_private=True)
        return row

    return await run_in_thread(make)


async def test_its_model_gets_tools_by_a_prompt_and_its_calls_are_read(gateway, upstream, alice):
    call = '<answer>{"tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}]}</answer>'
    upstream.queue_scripts(send_snapshots(f"<think>hm</think>{call}"))
    answer = await request_k2think(
        gateway, alice, model="mine", tools=TOOLS, tool_choice="required"
    )
    (written,) = read_message(answer)["tool_calls"]
    assert written["function"] == {"name": "weather", "arguments": '{"city":"Oslo"}'}
    prompt = str(upstream.requests[0].json["messages"])
    assert "weather" in prompt


async def test_its_thinking_is_split_from_its_answer_and_its_alias_hides_it(
    gateway, upstream, alice
):
    upstream.set_default_script(send_snapshots("<think>hm</think><answer>Hi.</answer>"))
    message = read_message(await request_k2think(gateway, alice, model="mine"))
    assert (message["content"], message["reasoning_content"]) == ("Hi.", "hm")
    message = read_message(await request_k2think(gateway, alice, model="mine-nothink"))
    assert (message["content"], message.get("reasoning_content")) == ("Hi.", None)


async def test_the_list_of_models_says_what_it_can(gateway, alice):
    answer = await gateway.send_request("GET", "/v1/models", alice.key)
    capabilities = {entry["id"]: entry["capabilities"] for entry in answer.json["data"]}
    expected = ["chat", "reasoning", "vision"]
    assert capabilities == {"mine": expected, "mine-nothink": expected}
