import asyncio
from typing import Any

import pytest

from api.accounting import tokenizer
from api.accounting.token_count import Prompt, count_request, estimate_request
from api.accounting.tokenizer import count_text
from conversations.text import token_estimate
from conversations.text.token_estimate import MESSAGE_TOKENS, weigh_slice
from providers.protocol.attempt import Attempt
from providers.protocol.request import CHAT, COMPLETIONS, EMBEDDINGS
from providers.protocol.usage_meter import HIGHEST_COUNT, TokenUsage, UsageMeter, parse_usage

HI = {"model": "m", "messages": [{"role": "user", "content": "hello world"}]}


def meter(body: dict[str, Any] = HI, *, outcome: str = "answered", **facts: Any) -> UsageMeter:
    """The meter of a request with one upstream call; `facts` are fields of the call."""
    found = UsageMeter()
    add_call(found, body, outcome=outcome, **facts)
    return found


def add_call(
    found: UsageMeter, body: dict[str, Any], *, outcome: str = "answered", **facts: Any
) -> None:
    call = found.begin_call(body)
    call.attempt = Attempt("p", "m")
    call.attempt.record_end(outcome)
    for name, value in facts.items():
        setattr(call, name, value)


def prompt_of(body: dict[str, Any]) -> Prompt:
    prompt = Prompt()
    prompt.add_body(body)
    return prompt


BOTH = {"prompt_tokens": 3, "completion_tokens": 5}


# --- what the upstream says -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (BOTH | {"total_tokens": 8}, TokenUsage(3, 5)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, TokenUsage()),
        ({"prompt_tokens": 3, "total_tokens": 3}, TokenUsage(3)),
        (BOTH | {"prompt_tokens_details": {"cached_tokens": 2}}, TokenUsage(3, 5, 0, 2)),
        (BOTH | {"completion_tokens_details": {"reasoning_tokens": 4}}, TokenUsage(3, 5, 4)),
        (BOTH | {"cached_tokens": 1}, TokenUsage(3, 5, 0, 1)),
        (BOTH | {"prompt_tokens_details": None}, TokenUsage(3, 5)),
        ({"prompt_tokens": 3.0, "completion_tokens": 5.0}, TokenUsage(3, 5)),
        (BOTH | {"cached_tokens": True}, TokenUsage(3, 5)),
        (BOTH | {"completion_tokens_details": {"reasoning_tokens": True}}, TokenUsage(3, 5)),
        (BOTH | {"prompt_tokens_details": {"cached_tokens": -1}}, TokenUsage(3, 5)),
        (BOTH | {"completion_tokens_details": {"reasoning_tokens": "x"}}, TokenUsage(3, 5)),
        ({"prompt_tokens": HIGHEST_COUNT, "completion_tokens": 1}, TokenUsage(HIGHEST_COUNT, 1)),
    ],
    ids=str,
)
def test_the_upstreams_own_figures_are_taken(given: dict[str, Any], expected: TokenUsage) -> None:
    assert parse_usage(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        [],
        "5",
        {"prompt_tokens": None, "completion_tokens": 5},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 3, "completion_tokens": -5},
        {"prompt_tokens": 10**12, "completion_tokens": 5},
        {"prompt_tokens": 3, "completion_tokens": 10**12},
        {"prompt_tokens": 3, "completion_tokens": float("inf")},
        {"prompt_tokens": "3", "completion_tokens": 5},
        {"prompt_tokens": True, "completion_tokens": 5},
        {"prompt_tokens": 3, "completion_tokens": False},
        {"prompt_tokens": float("nan"), "completion_tokens": 5},
        {"prompt_tokens": 3.5, "completion_tokens": 5},
        {"prompt_tokens": 1e300, "completion_tokens": 5},
        {"completion_tokens": 5},
        {"input_tokens": 3, "output_tokens": 5},
    ],
    ids=str,
)
async def test_figures_that_cannot_be_believed_are_counted_here_and_marked(given: Any) -> None:
    assert parse_usage(given) is None
    found = await count_request(meter(reported=given, texts=["hello"]))
    assert found.estimated
    assert found.prompt > 0
    assert found.completion == 1


async def test_reported_figures_are_not_marked_and_nothing_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        tokenizer, "load_vocabulary", lambda: pytest.fail("counted although it was told")
    )
    found = await count_request(
        meter(reported={"prompt_tokens": 3, "completion_tokens": 5}, texts=["x" * 10**6])
    )
    assert found == TokenUsage(3, 5, estimated=False)


# --- several calls --------------------------------------------------------------------------------
async def test_the_usage_of_a_request_is_that_of_all_calls_that_were_answered() -> None:
    found = meter(reported=BOTH | {"prompt_tokens_details": {"cached_tokens": 2}})
    add_call(found, HI, reported=BOTH)
    add_call(found, HI, outcome="ServerFailed")
    assert await count_request(found) == TokenUsage(6, 10, 0, 2)
    add_call(found, HI, texts=["hello"])
    counted = TokenUsage(6 + 2 + MESSAGE_TOKENS, 11, 0, 2, estimated=True)
    assert await count_request(found) == counted


# --- counted here ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("hello world", 2),
        ("tiktoken is great!", 6),
        ("お誕生日おめでとう", 8),
        ("antidisestablishmentarianism", 6),
    ],
)
def test_texts_are_counted_as_o200k_counts_them(text: str, tokens: int) -> None:
    assert count_text(text) == tokens


def test_special_tokens_in_a_text_are_only_text() -> None:
    assert count_text("<|endoftext|>") > 1


async def test_what_was_said_and_thought_is_counted_with_the_prompt() -> None:
    found = await count_request(meter(texts=["hel", "lo wor", "ld"], reasoning=["hello", " world"]))
    assert found == TokenUsage(prompt=2 + MESSAGE_TOKENS, completion=4, reasoning=2, estimated=True)


async def test_a_request_that_nobody_answered_used_nothing() -> None:
    found = meter(outcome="Unreachable")
    assert await count_request(found) == TokenUsage(estimated=False)


async def test_long_texts_are_counted_beside_the_event_loop_with_the_same_result(
    settings: Any,
) -> None:
    long = meter(texts=["hello world " * 500])
    settings.COUNT_INLINE_BYTES = 10**9
    inline = await count_request(long)
    settings.COUNT_INLINE_BYTES = 10
    task = asyncio.create_task(count_request(long))
    await asyncio.sleep(0)
    assert not task.done()
    assert await task == inline


@pytest.mark.parametrize(
    ("body", "endpoint", "tokens"),
    [
        (
            {
                "messages": [
                    {"role": "user", "content": [{"text": "hello world"}, {"type": "image_url"}]}
                ]
            },
            CHAT,
            2,
        ),
        ({"messages": [{"role": "user", "content": None}, {"role": "assistant"}]}, CHAT, 0),
        ({"prompt": "hello world"}, COMPLETIONS, 2),
        ({"prompt": ["hello world", "hello"]}, COMPLETIONS, 3),
        ({"prompt": [5, 6, 7]}, COMPLETIONS, 3),
        ({"prompt": [[5, 6], [7]]}, COMPLETIONS, 3),
        ({"prompt": None}, COMPLETIONS, 0),
        ({"input": "hello world"}, EMBEDDINGS, 2),
        ({"input": ["hello", "hello"]}, EMBEDDINGS, 2),
        ({"input": [[1, 2, 3]]}, EMBEDDINGS, 3),
    ],
    ids=str,
)
def test_everything_the_upstream_had_to_read_is_counted(
    body: dict[str, Any], endpoint: str, tokens: int
) -> None:
    prompt = prompt_of(body)
    overhead = MESSAGE_TOKENS * len(body.get("messages", ()))
    assert sum(map(count_text, prompt.texts)) + prompt.non_text_tokens - overhead == tokens


def test_tools_and_earlier_calls_are_part_of_the_prompt() -> None:
    call = {"id": "c", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    tool = {"type": "function", "function": {"name": "weather", "description": "tells the weather"}}
    texts = " ".join(
        prompt_of(
            {"messages": [{"role": "assistant", "tool_calls": [call]}], "tools": [tool]}
        ).texts
    )
    for part in ("Rome", "tells the weather"):
        assert part in texts


def test_an_estimate_needs_no_vocabulary_and_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 50
    exact = count_text(text)
    monkeypatch.setattr(tokenizer, "load_vocabulary", lambda: pytest.fail("counted"))
    found = estimate_request(meter(texts=[text]))
    assert found.estimated
    assert exact / 2 < found.completion < exact * 2
    assert estimate_request(meter(reported=BOTH)) == TokenUsage(3, 5)
    assert estimate_request(meter(outcome="Unreachable")) == TokenUsage()


def test_an_estimate_knows_scripts_and_weighs_a_bounded_part(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighed: list[int] = []

    def weigh(data: bytes) -> int:
        weighed.append(len(data.decode()))
        return weigh_slice(data)

    monkeypatch.setattr(token_estimate, "weigh_slice", weigh)
    text = "灯塔的看守人名叫艾达" * 50_000
    found = estimate_request(meter({"messages": [{"role": "user", "content": text}]}))
    assert found.prompt == pytest.approx(len(text), rel=0.01)
    assert 0 < sum(weighed) <= settings.COUNT_INLINE_BYTES


async def test_of_an_answer_of_which_nothing_could_be_kept_the_length_counts() -> None:
    facts = {"unkept_text": 4_000, "unkept_reasoning": 400}
    for found in (await count_request(meter(**facts)), estimate_request(meter(**facts))):
        assert (found.completion, found.reasoning) == (1_100, 100)


async def test_unkept_thinking_is_measured_by_all_that_was_kept() -> None:
    found = meter(unkept_reasoning=300)
    found.calls[0].attempt.hidden_thinking = ["hello world " * 25]
    assert (await count_request(found)).reasoning == pytest.approx(
        2 * count_text("hello world " * 25), abs=2
    )


@pytest.mark.parametrize("piece", ["x", " ", "\n", "ab ", "<tool_call>", "{{{{", "字", "🎈", "a1!"])
@pytest.mark.timeout(30)  # it takes a fraction of a second; the square of it would take minutes
def test_much_of_the_same_is_no_hang(piece: str) -> None:
    assert count_text(piece * (500_000 // len(piece))) > 0


def test_openais_form_has_all_its_fields() -> None:
    assert TokenUsage(3, 5, 4, 1).as_openai() == {
        "prompt_tokens": 3,
        "completion_tokens": 5,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
