"""Long texts on their way through filters: in portions, so that others get their turn, with the
same result.
"""

import asyncio
import copy
from collections.abc import Sequence
from typing import Any

import pytest

from providers.exceptions import BadResponse
from providers.filters.filter_pipeline import PORTION_CHARS, Filter, apply_filters, divide_batch
from providers.filters.prompted_tools.call_collector import MOST_CALLS
from providers.filters.prompted_tools.call_reader import CallReader
from providers.filters.thinking import ThinkingRenderer, ThinkingSplitter
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches, Chunk, make_delta
from providers.protocol.request import CHAT, ChatRequest

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
REQUEST = ChatRequest(
    id="0" * 32,
    endpoint=CHAT,
    model="m",
    body={"messages": [{"role": "user", "content": "x"}], "tools": TOOLS},
)
PIECES = [
    '{"a":1}',
    '{"name":1}',
    "<tool_call>",
    "{{{{",
    "[[[[",
    "```\n",
    "<think>",
    '<tool_call>{"name":"f"}',
    '{"',
]


def steps() -> list[Filter]:
    return [
        ThinkingSplitter("tagged"),
        CallReader(REQUEST, Attempt("p", "m")),
        ThinkingRenderer("inline"),
    ]


async def upstream(batches: Sequence[list[Chunk]]) -> Batches:
    for batch in copy.deepcopy(batches):
        yield batch


async def through(batches: Sequence[list[Chunk]], *, stream: bool, **options: Any) -> list[Chunk]:
    found = apply_filters(upstream(batches), steps(), stream=stream, **options)
    return [chunk async for batch in found for chunk in batch]


def whole(text: str) -> Chunk:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def said(chunks: list[Chunk]) -> str:
    return "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
    )


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("piece", PIECES)
async def test_others_get_their_turn_while_a_long_text_is_looked_through(
    piece: str, stream: bool
) -> None:
    text = (piece * 100_000)[:100_000]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    chunks = await through([[whole(text)]], stream=stream)
    task.cancel()
    assert chunks
    assert turns > len(text) / PORTION_CHARS * 0.9


@pytest.mark.parametrize("piece", [*PIECES, '<think>a</think>{"name":"f","arguments":{}}\n'])
async def test_a_long_chunk_means_the_same_as_many_short_ones(piece: str) -> None:
    text = (piece * 5_000)[:5_000]
    short = [[make_delta(REQUEST, content=text[at : at + 7])] for at in range(0, len(text), 7)]
    end = [make_delta(REQUEST, finish_reason="stop")]
    assert said(await through([[make_delta(REQUEST, content=text)], end], stream=True)) == said(
        await through([*short, end], stream=True)
    )


def test_what_stands_before_and_behind_the_text_stays_there() -> None:
    text = "x" * (3 * PORTION_CHARS)
    chunk = make_delta(
        REQUEST, role="assistant", reasoning_content="r", content=text, tool_calls=[{"index": 0}]
    )
    chunk["choices"][0]["finish_reason"] = "stop"
    chunk["usage"] = {"prompt_tokens": 1}
    found = [one for portion in divide_batch([chunk]) for one in portion]
    first, *_, last, usage = found
    assert first["choices"][0]["delta"].keys() == {"role", "reasoning_content", "content"}
    assert last["choices"][0]["delta"].keys() == {"content", "tool_calls"}
    assert [one["choices"][0]["finish_reason"] for one in found[:-1]] == [None, None, "stop"]
    assert said(found) == text
    assert (usage["choices"], usage["usage"]) == ([], {"prompt_tokens": 1})


def test_many_short_chunks_are_divided_too_and_one_short_batch_is_not() -> None:
    many = [make_delta(REQUEST, content="x" * 100) for _ in range(50)]
    assert len(list(divide_batch(many))) > 3
    assert list(divide_batch(many[:2])) == [many[:2]]


async def test_a_whole_answer_made_of_a_stream_has_a_limit() -> None:
    batches = [[make_delta(REQUEST, content="x" * 1_000)] for _ in range(100)]
    with pytest.raises(BadResponse):
        await through(batches, stream=False, most_answer_bytes=50_000)
    assert len(await through(batches, stream=False, most_answer_bytes=200_000)) == 1


def test_of_much_hidden_thinking_only_the_beginning_is_kept() -> None:
    unshown: list[str] = []
    step = ThinkingRenderer("hidden", unshown, most_hidden_bytes=10_000)
    for _ in range(1_000):
        step.filter_chunks([make_delta(REQUEST, reasoning_content="x" * 100)])
    assert 1_000 < len("".join(unshown)) < 10_000


async def test_an_answer_has_so_many_calls_and_no_more() -> None:
    (answer,) = await through(
        [[whole('<tool_call>{"name":"f"}</tool_call>' * 2_000)]], stream=False
    )
    message = answer["choices"][0]["message"]
    assert len(message["tool_calls"]) == MOST_CALLS
    assert message["content"].count("<tool_call>") == 2_000 - MOST_CALLS


@pytest.mark.parametrize(
    "text",
    [
        '{"name":"f","arguments":{"x":"' + "y" * 5_000 + '"}}',
        '<tool_call>{"name":"f","arguments":{"x":"' + "y" * 5_000 + '"}}</tool_call>',
        "<function=f>\n<parameter=x>" + "y" * 5_000 + "</parameter></function>",
        "call function: f arguments: {" + '"x": "' + "y" * 5_000 + '"}',
        '```json\n{"name":"f","arguments":{"x":"' + "y" * 5_000 + '"}}\n```',
    ],
    ids=lambda text: text[:20],
)
async def test_what_is_too_long_for_a_call_is_text(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (answer,) = await through([[whole(text)]], stream=False)
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    monkeypatch.setattr("providers.filters.prompted_tools.scanned_text.MOST_HELD_CHARS", 3_000)
    (answer,) = await through([[whole(text)]], stream=False)
    assert answer["choices"][0]["message"]["content"] == text
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_text_is_not_held_for_ever_for_a_call_that_must_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("providers.filters.prompted_tools.choice_reader.MOST_WAITING_CHARS", 3_000)
    body = REQUEST.body | {"tool_choice": "required"}
    request, attempt = (
        ChatRequest(id="0" * 32, endpoint=CHAT, model="m", body=body),
        Attempt("p", "m"),
    )
    reader = CallReader(request, attempt)
    told = [reader.filter_chunks([make_delta(REQUEST, content="word " * 100)]) for _ in range(10)]
    assert [said(chunks) for chunks in told[:6]] == [""] * 6
    assert "".join(map(said, told)) == "word " * 1_000
    reader.filter_chunks([make_delta(REQUEST, finish_reason="stop")])
    assert not attempt.lacks_tool_call
