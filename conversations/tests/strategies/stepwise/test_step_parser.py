import json
import random

import pytest

from conversations.strategies.stepwise import cut_json, step_parser
from conversations.strategies.stepwise.step_parser import STEP_CHARS, Step, parse_step
from proxysite.testing.counted_work import WorkCounter

GOOD = {"title": "Look", "content": "6 × 7 is asked.", "next_action": "continue"}
TEXT = json.dumps(GOOD, ensure_ascii=False)
STEP = Step("Look", "6 × 7 is asked.")


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"```json\n{TEXT}\n```",
        f"Here is my step:\n\n{TEXT}\n\nShall I go on?",
        f"<think>{{a}} and {{'title'}}</think>{TEXT}",
        f"A set {{1, 2}} first. {TEXT}",
        TEXT[:-1] + ",}",
        TEXT[:-1] + ",\n}\n```",
        TEXT[:-1],
        json.dumps(GOOD),
        f"[{TEXT}]",
        '{"Title": "Look", "CONTENT": "6 × 7 is asked.", "nextAction": "continue"}',
        '{"title": "Look", "content": ["6 × 7 is asked."], "next_action": null}',
        '{"title": "Look", "content": "6 × 7 is asked.", "next_ac',
        '{"title": "Look", "content": "6 × 7 is asked.',
        '{"title": "Look", "content": "6 × 7 is asked.\\',
        '{"title": "Look", "content": "6 × 7 is asked.\\u00',
        TEXT + TEXT,
    ],
)
def test_a_step_is_read_however_a_model_writes_it(text):
    assert parse_step(text) == STEP


@pytest.mark.parametrize(
    "text", ["", "I think.", "{}", "{", '{"title": "x"}', '{"title": "x", "content": " "}', "[1]"]
)
def test_what_says_nothing_is_no_step(text):
    assert parse_step(text) is None


def test_ready_to_answer_is_read_in_any_spelling():
    for word in ("final_answer", "Final Answer", "FINAL"):
        assert parse_step(json.dumps(GOOD | {"next_action": word})).is_final
    assert not parse_step(json.dumps(GOOD | {"next_action": "go on"})).is_final


def test_quotes_line_breaks_and_halves_of_characters_survive():
    assert (
        parse_step('{"title": "a", "content": "He said \\"no\\",}\nand left."}').content
        == 'He said "no",}\nand left.'
    )
    assert parse_step('{"title": "a", "content": "x\\ud83d"}').content == "x\ufffd"
    step = Step('"', "a\n\\\u2028b")
    assert parse_step(step.as_json()) == step


def test_nothing_that_a_model_may_write_breaks_the_reader_or_takes_long():
    rng = random.Random(7)
    for _ in range(2_000):
        parse_step("".join(rng.choices('{}[]",:\\ aé\n', k=rng.randrange(40))))
    for text in (
        '{"' * 20_000,
        "{" * 50_000,
        '{"' + '"\\' * 50_000,
        '{"' + "\\" * 50_001,
        '{"a", ' * 9_000,
        '{"a":' * 20_000,
        '"\\' * 50_000,
        '{"content": "' + "\\" * 99_999,
    ):
        parse_step(text)
    content = parse_step('{"title": "t", "content": "' + "c" * 200_000).content
    assert len(content) == STEP_CHARS - len('{"title": "t", "content": "')


HOSTILE = {  # each about `size` characters long
    "opened and parted": lambda size: '{"a":' + "[," * (size // 2),
    "opened, then parted": lambda size: '{"a":' + "[" * (size // 2) + "," * (size // 2),
    "objects parted": lambda size: '{"a":' + '{"b":1,' * (size // 7),
    "spaces": lambda size: '{"a":"b", ' + " " * size + "x",
    "commas and spaces": lambda size: '{"a":' + "," * (size // 2) + " " * (size // 2),
    "long lists": lambda size: ('{"a":[' + "1," * (size // 100)) * 50,
    "fences": lambda size: "```" * (size // 3),
    "fences and spaces": lambda size: "```" + " " * size + "x```",
    "thoughts": lambda size: "</think>" * (size // 8),
}


class CountedDecoder(json.JSONDecoder):
    """Counts all the text behind the place where it begins, though it may stop before the end."""

    def __init__(self, counter):
        super().__init__(strict=False)
        self.counter = counter

    def raw_decode(self, s, idx=0):
        self.counter.add_steps(len(s) - idx)
        return super().raw_decode(s, idx)


@pytest.mark.parametrize("case", HOSTILE)
def test_the_work_on_an_answer_grows_with_its_length_and_no_faster(case, monkeypatch):
    counter = WorkCounter()
    counter.watch_patterns(monkeypatch, cut_json)
    decoder = CountedDecoder(counter)
    for module in (cut_json, step_parser):
        monkeypatch.setattr(module, "DECODER", decoder)

    def count_steps(size):
        text = HOSTILE[case](size)
        return counter.count_steps(lambda: parse_step(text))

    assert count_steps(32_000) < 12 * count_steps(4_000)  # if it grew with the square: 64


@pytest.mark.parametrize("depth", [100, 190, 210, 945, 990, 5_000])
@pytest.mark.parametrize("end", ["]", ""], ids=["whole", "cut"])
def test_what_is_nested_deeper_than_anything_sensible_is_no_step(depth, end):
    text = '{"title": "t", "content": ' + "[" * depth + "1" + end * depth + ("}" if end else "")
    assert (parse_step(text) is None) == (depth > 200)


@pytest.mark.parametrize(
    "text",
    [
        '{"title": "t", "content": "The tag </think> ends thinking."}',
        '```json\n{"title": "t", "content": "The tag </think> ends thinking."}\n```',
        (
            '<think>{"content": "no"}</think>{"title": "t", "content": "The tag &lt;/think> ends '
            'thinking."}'
        ),
        (
            '{"content": "a thought"} and more</think>{"title": "t", "content": "The tag '
            '&lt;/think> ends thinking."}'
        ),
        '{"title": "t", "content": "The tag </think> ends thinking.',
    ],
)
def test_the_end_of_a_thought_may_be_a_word_of_the_step(text):
    assert parse_step(text).content.replace("&lt;", "<") == "The tag </think> ends thinking."


def test_a_cut_of_a_step_is_a_step_as_soon_as_it_says_something():
    begin = TEXT.index("6")
    for end in range(begin + 1, len(TEXT)):
        step = parse_step(TEXT[:end])
        assert step is not None, TEXT[:end]
        assert STEP.content.startswith(step.content)
