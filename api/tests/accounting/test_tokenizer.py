"""Counting of long texts: linear, beside the loop, with bounded memory."""

import random
import threading
from typing import Any

import pytest

from api.accounting import tokenizer
from api.accounting.token_count import count_body, count_request
from api.accounting.tokenizer import (
    SLICE_CHARS,
    count_text,
    count_texts,
    run_in_counting_thread,
    slice_text,
)
from providers.protocol.attempt import Attempt
from providers.protocol.usage_meter import MeteredCall, UsageMeter

ENGLISH = "The quick brown fox jumps over the lazy dog, and nobody minds. "
CHINESE = "\u5929\u5730\u7384\u9ec4\u5b87\u5b99\u6d2a\u8352\uff0c"
ALPHABET = b"abcdefghijklmnopqrstuvwxyz"
LETTER_OF_BYTE = bytes(ALPHABET[byte % len(ALPHABET)] for byte in range(256))


def letters(size: int, seed: int = 1) -> str:
    return random.Random(seed).randbytes(size).translate(LETTER_OF_BYTE).decode()


@pytest.mark.parametrize(
    "text", [ENGLISH * 300, CHINESE * 2_000, letters(20_000), " " * 20_000, "a\nb " * 5_000]
)
def test_slices_are_the_text_and_count_nearly_as_the_whole(text: str) -> None:
    assert "".join(slice_text(text)) == text
    assert max(map(len, slice_text(text))) <= SLICE_CHARS
    found = count_texts([text], 10**9)
    assert found.is_exact
    assert found.tokens == pytest.approx(count_text(text), rel=0.01, abs=2)


def test_words_stay_whole() -> None:
    text = ENGLISH * 300
    assert count_texts([text], 10**9).tokens == count_text(text)


@pytest.mark.parametrize(
    "texts", [[ENGLISH * 30_000], [ENGLISH * 10] * 2_000, [letters(600_000), ENGLISH * 10_000]]
)
def test_of_a_longer_text_a_sample_is_counted(texts: list[str]) -> None:
    exact, sampled = count_texts(texts, 10**9), count_texts(texts, 1_000)
    assert not sampled.is_exact
    assert sampled.tokens == pytest.approx(exact.tokens, rel=0.1)


def test_a_sample_costs_the_same_whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    monkeypatch.setattr(tokenizer, "limit_cache", encoded.append)
    count_texts(["x" * 15_000_000], 1_000)
    assert sum(encoded) <= 2 * tokenizer.SAMPLE_SLICES * SLICE_CHARS


@pytest.mark.settings(COUNT_CACHE_CHARS=50_000)
def test_the_tokenizer_forgets_what_it_met() -> None:
    for seed in range(10):
        count_texts([" ".join(letters(12, seed * 1_000 + at) for at in range(2_000))], 10**9)
    assert tokenizer.load_vocabulary().cache_len < 10_000


@pytest.mark.settings(COUNT_EXACT_CHARS=10_000)
async def test_with_many_callers_in_front_only_samples_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await run_in_counting_thread(lambda most_chars: most_chars) == 10_000
    monkeypatch.setattr(tokenizer, "_waiting_callers", tokenizer.MOST_WAITING_CALLERS)
    assert await run_in_counting_thread(lambda most_chars: most_chars) == 0
    assert tokenizer._waiting_callers == tokenizer.MOST_WAITING_CALLERS


@pytest.mark.settings(COUNT_EXACT_CHARS=10**7)
@pytest.mark.parametrize("text", [letters(500_000), "\U0001f680" * 300_000])
async def test_a_long_text_is_counted_in_small_parts_beside_the_event_loop(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[int] = []
    threads: set[str] = set()

    def note(chars: int) -> None:
        parts.append(chars)
        threads.add(threading.current_thread().name)

    await run_in_counting_thread(lambda most_chars: None)  # loads the vocabulary
    monkeypatch.setattr(tokenizer, "limit_cache", note)
    assert (await count_body({"messages": [{"role": "user", "content": text}]})).is_exact
    assert sum(parts) == len(text)
    assert max(parts) <= tokenizer.SLICES_AT_ONCE * tokenizer.SLICE_CHARS
    assert {name.partition("_")[0] for name in threads} == {"counting"}


async def test_the_tokens_of_a_long_array_are_only_counted() -> None:
    assert (await count_body({"input": [1] * 5_000_000})).tokens == 5_000_000


# --- what is kept of an answer --------------------------------------------------------------------
def said(**delta: Any) -> list[dict[str, Any]]:
    return [{"choices": [{"index": 0, "delta": delta}]}]


def begin_answered_call(meter: UsageMeter) -> MeteredCall:
    call = meter.begin_call({"messages": []})
    call.attempt = Attempt("p", "m")
    call.attempt.record_end("answered")
    return call


@pytest.mark.settings(COUNT_KEPT_BYTES=20_000)
@pytest.mark.parametrize("piece", ["word ", ENGLISH, ENGLISH * 100])
async def test_of_a_very_long_answer_the_beginning_is_kept_and_the_rest_estimated(
    piece: str,
) -> None:
    meter = UsageMeter()
    call = begin_answered_call(meter)
    times = 2_000_000 // len(piece)
    for _ in range(times):
        call.record_chunks(said(content=piece, reasoning_content=piece))
    assert sum(len(text) + 64 for text in (*call.texts, *call.reasoning)) <= 20_000
    found = await count_request(meter)
    if call.texts:
        assert found.completion == pytest.approx(2 * count_text(piece * 100) / 100 * times, rel=0.1)
    assert found.estimated


def test_a_call_counts_as_its_name_and_arguments() -> None:
    call = begin_answered_call(UsageMeter())
    call.record_chunks(
        said(
            tool_calls=[
                {"index": 0, "function": {"name": "f", "arguments": '{"x":1}'}},
                5,
                {"function": 5},
            ]
        ),
    )
    call.record_chunks(said(function_call={"name": "g", "arguments": "{}"}))
    assert [text for text in call.texts if text] == ['f {"x":1}', "g {}"]
