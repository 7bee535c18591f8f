"""Measure how often an excerpt of a long text has the passage that answers a question.

    python -m benchmarks.retrieval FILE [--share 0.1] [--misses 5]

FILE is JSON: [{"title", "paragraphs": [{"text", "questions": [{"question", "answers"}]}]}], as in
the public sets XQuAD and CMRC 2018. All its paragraphs are joined to one text. For each question an
excerpt of a share of the text is made as for a prompt: as a file and as a system message, where
head and tail are kept, too. Prints the share of questions whose answer's passage is in the excerpt
and among the passages found, and the milliseconds of a follow-up question, when the text has been
taken in. `--misses` prints so many questions that were missed.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLANK_LINE = "\n\n"
PLACES = (1, 5, 10, 20)


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question and the place of its answer in the whole text."""

    text: str
    start: int
    end: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--misses", type=int, default=0)
    chosen = parser.parse_args()
    os.environ.setdefault("DATABASE_URL", "")
    os.environ.setdefault("PROXYSITE_HOME", tempfile.mkdtemp(prefix="proxysite-retrieval-"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
    import django  # after the environment is set

    django.setup()
    text, questions = read_questions(json.loads(chosen.file.read_text()))
    print_figures(text, questions, chosen.share, chosen.misses)


def read_questions(articles: list[dict[str, Any]]) -> tuple[str, list[AskedQuestion]]:
    """Return all paragraphs as one text, and the questions whose answers are in it."""
    parts: list[str] = []
    questions = []
    offset = 0
    for article in articles:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["questions"]:
                answer = asked["answers"][0]
                start = paragraph["text"].find(answer)
                if start >= 0:
                    start += offset
                    questions.append(AskedQuestion(asked["question"], start, start + len(answer)))
            parts.append(paragraph["text"])
            offset += len(paragraph["text"]) + len(BLANK_LINE)
    return BLANK_LINE.join(parts), questions


def print_figures(
    text: str, questions: list[AskedQuestion], share: float, most_misses: int
) -> None:
    """Measure and print everything."""
    from conversations.documents.excerpt import ExcerptFrame, build_excerpt
    from conversations.documents.index_worker import (
        Outline,
        Splitting,
        build_packed_outline,
    )
    from conversations.documents.ranking import (
        IngestedText,
        Question,
        rank_passages,
    )
    from conversations.prompts.text_shortener import END_CHARS

    began = time.perf_counter()
    outline = Outline.from_packed(build_packed_outline(text, Splitting()))
    taken_in_ms = 1000 * (time.perf_counter() - began)
    ingested_text = IngestedText("", outline)
    budget = int(len(text) * share)
    frames = {
        "file": ExcerptFrame(budget),
        "system message": ExcerptFrame(budget, end_chars=END_CHARS),
    }
    excerpt_hits = dict.fromkeys(frames, 0)
    place_hits = dict.fromkeys(PLACES, 0)
    times_ms = []
    misses = []
    for question in questions:
        began = time.perf_counter()
        ranked = rank_passages(ingested_text, Question(question.text))
        excerpts = {
            name: build_excerpt(text, outline, ranked, frame) for name, frame in frames.items()
        }
        times_ms.append(1000 * (time.perf_counter() - began) / len(frames))
        wanted = find_answering_passages(outline.starts, outline.ends, question)
        passages = [text[outline.starts[n] : outline.ends[n]].strip() for n in wanted]
        for name, excerpt in excerpts.items():
            excerpt_hits[name] += any(passage in excerpt for passage in passages)
        if not any(passage in excerpts["file"] for passage in passages):
            misses.append(question)
        for place in PLACES:
            place_hits[place] += any(hit.key in wanted for hit in ranked[:place])
    print(f"{len(text):,} characters, {len(outline)} passages, {len(questions):,} questions")
    print(f"taken in: {taken_in_ms:.0f} ms")
    print("| the answer's passage is in … | % of the questions |\n| --- | --- |")
    for name, hits in excerpt_hits.items():
        print(f"| an excerpt of a {name} | {100 * hits / len(questions):.1f} |")
    for place, hits in place_hits.items():
        print(f"| the first {place} found | {100 * hits / len(questions):.1f} |")
    print(
        f"follow-up question: median {statistics.median(times_ms):.1f} ms, "
        f"slowest {max(times_ms):.1f} ms"
    )
    for question in misses[:most_misses]:
        print(f"missed: {question.text} → {text[question.start : question.end]}", file=sys.stderr)


def find_answering_passages(
    starts: Sequence[int], ends: Sequence[int], question: AskedQuestion
) -> list[int]:
    """Return the numbers of the passages with the answer, or the one in which it begins."""
    spans = enumerate(zip(starts, ends, strict=True))
    wanted = [n for n, (start, end) in spans if start <= question.start and question.end <= end]
    return wanted or [n for n, end in enumerate(ends) if end > question.start][:1]


if __name__ == "__main__":
    main()
