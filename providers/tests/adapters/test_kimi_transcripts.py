"""Transcripts of Kimi's two web interfaces as they come over the wire, cut anywhere."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from providers.exceptions import (
    UpstreamError,
)
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.tests.kimi_asking import request_of
from providers.upstream.stream_reader import DialectReader
from providers.wire import connect, sse
from providers.wire.kimi_rest_dialect import KimiRestAnswer as RestAnswer
from providers.wire.kimi_web_dialect import KimiWebAnswer as WebAnswer

CUTS = 1_000  # ways in which all transcripts together are cut
TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"


def wire_bytes(path: Path) -> bytes:
    if path.suffix == ".sse":
        return path.read_bytes()
    frames = b""
    for line in path.read_text().splitlines():
        word, _, data = line.partition(" ")
        message = data.encode()
        frames += struct.pack(">BI", 2 if word == "trailer" else 0, len(message)) + message
    return frames


def read_transcript(path: Path, pieces: list[bytes], **fields: Any) -> dict[str, Any]:
    """Return what a caller gets of these bytes, and how the stream ended."""
    attempt = Attempt("p", "m")
    if path.suffix == ".sse":
        reader = DialectReader(
            RestAnswer(request_of(), attempt, "secret"), sse.EventSplitter(10_000)
        )
    else:
        reader = DialectReader(
            WebAnswer(request_of(), attempt, "secret"), connect.FrameSplitter(10_000)
        )
    chunks: list[Chunk] = []
    error = ""
    try:
        for piece in pieces:
            if not reader.is_over:
                chunks += reader.feed(piece)
        chunks += reader.read_last_event()
        reader.require_finish()
    except UpstreamError as raised:
        error = type(raised).__name__
    message: dict[str, Any] = {}
    finish = ""
    for chunk in chunks:
        choice = chunk["choices"][0]
        for name, value in choice["delta"].items():
            message[name] = (
                (message.get(name) or "") + value if name.endswith("content") and value else value
            )
        finish = choice["finish_reason"] or finish
    answer = {
        "content": message.get("content") or "",
        "reasoning": message.get("reasoning_content") or "",
    }
    text = answer["content"]
    citations = [part["url_citation"] for part in message.get("annotations", ())]
    answer["annotations"] = [
        [text[cited["start_index"] : cited["end_index"]], cited["url"], cited["title"]]
        for cited in citations
    ]
    if error:
        return {**answer, "error": error}
    return {**answer, "finish": finish, "chat_id": attempt.chat_id, "parent_id": attempt.parent_id}


SPOKEN = sorted([*TRANSCRIPTS.glob("kimi_web/*.jsonl"), *TRANSCRIPTS.glob("kimi_rest/*.sse")])


@pytest.mark.parametrize("path", SPOKEN, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_a_transcript_means_what_stands_beside_it(path: Path) -> None:
    nothing = {"reasoning": "", "annotations": []}
    expected = nothing | json.loads(path.with_suffix(".json").read_text())
    if "error" not in expected:
        expected = {"chat_id": ""} | expected
    assert read_transcript(path, [wire_bytes(path)]) == expected


def test_every_transcript_means_the_same_wherever_it_is_cut() -> None:
    draw = random.Random(11)
    whole = [(path, data := wire_bytes(path), read_transcript(path, [data])) for path in SPOKEN]
    for turn in range(CUTS):
        path, data, expected = whole[turn % len(whole)]
        at = sorted(draw.randrange(len(data) + 1) for _ in range(1 + turn % 8))
        pieces = [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]
        assert read_transcript(path, pieces) == expected, (path, at)


@pytest.mark.parametrize(
    "path", [path for path in SPOKEN if path.suffix == ".jsonl"], ids=lambda path: path.stem
)
def test_frames_that_end_early_never_make_a_whole_answer(path: Path) -> None:
    data = wire_bytes(path)
    done = data.find(b'"done"')
    for kept in range(0, done if done > 0 else data.rfind(b"\x02\x00"), 7):
        assert "error" in read_transcript(path, [data[:kept]]), kept
