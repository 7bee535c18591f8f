"""What callers get of what K2-Think's web site says."""

from pathlib import Path

import pytest

from api.tests.endpoints.k2think.k2think_site import (
    MODEL,
    join_reasoning,
    read_message,
    request_k2think,
    send_snapshots,
)
from providers.database.database_threads import run_in_thread
from providers.seed_presets import create_preset_rows
from proxysite.testing import rows
from proxysite.testing.upstream import Script, answer_honestly, send_reply, send_stream

TRANSCRIPTS = Path(__file__).parents[4] / "providers" / "tests" / "transcripts" / "k2think_web"


def send_transcript(name: str) -> Script:
    return send_stream((TRANSCRIPTS / f"{name}.sse").read_bytes())


# --- what callers get -----------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["v1_details", "v2_open_missing", "v2_think", "plain"])
@pytest.mark.parametrize("how", ["parsed", "raw", "hidden"])
async def test_streamed_and_whole_answers_say_the_same(gateway, upstream, alice, name, how):
    upstream.set_default_script(send_transcript(name))
    whole = await request_k2think(gateway, alice, reasoning_format=how)
    streamed = await request_k2think(gateway, alice, reasoning_format=how, stream=True)
    assert streamed.is_complete
    assert streamed.finish_reasons == ["stop"]
    assert whole.text == streamed.text
    assert read_message(whole).get("reasoning_content", "") == join_reasoning(streamed)
    assert bool(join_reasoning(streamed)) == (how == "parsed" and name != "plain")
    assert ("<think>" in whole.text.split("```")[0]) == (how == "raw" and name != "plain")
    assert "answer>" not in whole.text
    assert whole.json["model"] == MODEL


async def test_thinking_is_reasoning_content_unless_the_caller_says_otherwise(
    gateway, upstream, alice
):
    upstream.set_default_script(
        send_snapshots("One", "One two</think>", "One two</think>\n<answer>Three</answer>")
    )
    found = read_message(await request_k2think(gateway, alice))
    assert (found["reasoning_content"], found["content"]) == ("One two", "Three")
    inline = read_message(await request_k2think(gateway, alice, reasoning_format="raw"))
    assert (inline.get("reasoning_content"), inline["content"]) == (
        None,
        "<think>One two</think>\n\nThree",
    )


@pytest.mark.parametrize(
    ("model", "thought"),
    [
        ("MBZUAI-IFM/K2-Think", "a"),
        (f"{MODEL}-nothink", None),
        ("MBZUAI-IFM/K2-Think-nothink", None),
    ],
)
async def test_the_names_that_clients_of_the_site_use_work(
    gateway, upstream, alice, model, thought
):
    upstream.queue_scripts(send_snapshots("<think>a</think>b"))
    answer = await request_k2think(gateway, alice, model=model)
    assert (read_message(answer).get("reasoning_content"), answer.text, answer.json["model"]) == (
        thought,
        "b",
        model,
    )
    assert upstream.requests[0].json["model"] == MODEL


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_snapshots_that_close_their_tags_anew_lose_nothing(gateway, upstream, alice, stream):
    start = '<details type="reasoning" done="true"><summary>Thought</summary>\na</details>\n'
    words = ["答", "答案", "答案:\n```\n1\n```", "答案:\n```\n1\n2\n```"]
    upstream.queue_scripts(send_snapshots(*(f"{start}<answer>{text}</answer>" for text in words)))
    answer = await request_k2think(gateway, alice, stream=stream)
    assert answer.status == 200
    assert answer.text == "答案:\n```\n1\n2\n```"


async def test_thinking_comes_while_its_block_is_open(gateway, upstream, alice):
    opened = '<details type="reasoning" done="false"><summary>Thinking…</summary>\nFirst'
    upstream.queue_scripts(
        send_stream(
            {"content": opened}, upstream.gate, {"content": opened + " b</details>Hi"}, "done"
        )
    )
    async with gateway.open_stream(alice.key, model=MODEL) as reading:
        await reading.read_until("First")
        upstream.gate.open()
        answer = await reading.read_rest()
    assert (join_reasoning(answer), answer.text) == ("First b", "Hi")


@pytest.mark.parametrize(
    "end", ["[DONE]", "DONE", "done", "-1", '"done"', {"done": True}, {"content": "", "done": True}]
)
async def test_every_word_that_ends_an_answer_ends_it(gateway, upstream, alice, end):
    upstream.queue_scripts(send_snapshots("Hi", "Hi.", end=end))
    answer = await request_k2think(gateway, alice, stream=True)
    assert (answer.text, answer.finish_reasons, answer.is_complete) == ("Hi.", ["stop"], True)


async def test_a_finish_reason_of_the_site_is_the_callers(gateway, upstream, alice):
    said = [
        {"choices": [{"delta": {"content": "Hi"}}]},
        {"choices": [{"delta": {}, "finish_reason": "length"}]},
    ]
    upstream.queue_scripts(send_stream(*said, "[DONE]"))
    answer = await request_k2think(gateway, alice, stream=True)
    assert (answer.text, answer.finish_reasons) == ("Hi", ["length"])


async def test_usage_is_the_sites_where_it_says_one(gateway, upstream, alice):
    upstream.queue_scripts(send_transcript("v1_details"))
    answer = await request_k2think(
        gateway, alice, stream=True, stream_options={"include_usage": True}
    )
    assert answer.events[-1]["usage"]["completion_tokens"] == 41
    assert (await rows.read_only_usage_record()).completion_tokens == 41


async def test_a_whole_answer_is_read_too(gateway, upstream, alice):
    said = {"role": "assistant", "content": "<think>a</think><answer>b</answer>"}
    upstream.set_default_script(
        send_reply(
            {"id": "x", "choices": [{"index": 0, "message": said}], "usage": None, "time_info": {}}
        )
    )
    assert (
        read_message(await request_k2think(gateway, alice))["reasoning_content"],
        (await request_k2think(gateway, alice)).text,
    ) == ("a", "b")
    streamed = await request_k2think(gateway, alice, stream=True)
    assert (join_reasoning(streamed), streamed.text, streamed.finish_reasons) == (
        "a",
        "b",
        ["stop"],
    )


async def test_events_that_say_nothing_do_no_harm(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            "",
            "{}",
            "7",
            b": ping\n\n",
            {"choices": []},
            {"content": None},
            {"content": "Hi"},
            "[DONE]",
        )
    )
    assert (await request_k2think(gateway, alice)).text == "Hi"


async def test_the_official_interface_gives_thinking_and_answer_too(gateway, upstream, alice):
    """It streams what is new, in OpenAI's form, and the opening tag of the thinking is missing
    there too.
    """

    def make() -> None:
        row, _ = create_preset_rows("k2think")
        rows.move_providers(row, base_url=upstream.url, allow_private=True)
        rows.create_tokens(row, "sk-official-1")

    await run_in_thread(make)
    await gateway.reload_rows()
    upstream.queue_scripts(
        answer_honestly("One ", "two</th", "ink>", "\n\nTh", "ree"),
        answer_honestly("One two</think>\n\nThree"),
        answer_honestly("One two</think>\n\nThree"),
    )
    streamed = await request_k2think(gateway, alice, stream=True)
    assert (
        join_reasoning(streamed),
        streamed.text,
        streamed.finish_reasons,
        streamed.is_complete,
    ) == (
        "One two",
        "Three",
        ["stop"],
        True,
    )
    whole = read_message(await request_k2think(gateway, alice))
    assert (whole["reasoning_content"], whole["content"]) == ("One two", "Three")
    assert read_message(await request_k2think(gateway, alice, model=f"{MODEL}-nothink")) == {
        "role": "assistant",
        "content": "Three",
        "refusal": None,
    }
    assert {(asked.path, asked.bearer_token) for asked in upstream.requests} == {
        ("/v1/chat/completions", "sk-official-1")
    }


# --- beside the path ------------------------------------------------------------------------------
async def test_thinking_that_is_hidden_is_counted_all_the_same(gateway, upstream, alice):
    for how in ("parsed", "hidden"):
        upstream.queue_scripts(send_snapshots("<think>" + "Hm, hm. " * 50 + "</think>Yes."))
        await request_k2think(gateway, alice, reasoning_format=how)
    shown, hidden = await rows.read_usage_records()
    assert hidden.completion_tokens == shown.completion_tokens > 100
    assert hidden.reasoning_tokens == shown.reasoning_tokens
