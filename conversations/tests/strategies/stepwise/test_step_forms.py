"""The forms in which models write a step: each is read, or is the step's text; none is garbled."""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here
import json
import time

import pytest

from conversations.strategies.stepwise.step_parser import Step, parse_step, read_prose_step

LOOK = Step("Look", "I look.", is_final=True)
PLAIN = '{"title": "Look", "content": "I look.", "next_action": "final_answer"}'
FIELDS = '"title": "Look", "content": "I look.", "next_action": "final_answer"'
ENCODED = json.dumps(PLAIN)
READ_FORMS = {
    "plain": PLAIN,
    "in a fence": f"```json\n{PLAIN}\n```",
    "in a fence with capitals": f"```JSON\n{PLAIN}```",
    "behind prose": f"Sure, here it is:\n{PLAIN}",
    "before prose": f"{PLAIN}\nShall I go on?",
    "behind thinking": f"<think>{{maybe}}</think>\n{PLAIN}",
    "in an outer object": f'{{"step": {PLAIN}}}',
    "in a list of steps": f'{{"steps": [{PLAIN}]}}',
    "in a list": f"[{PLAIN}]",
    "in two outer objects": f'{{"response": {{"step": {PLAIN}}}}}',
    "encoded twice": ENCODED,
    "encoded twice in a fence": f"```\n{ENCODED}\n```",
    "encoded three times": json.dumps(ENCODED),
    "encoded without the outer quotes": ENCODED[1:-1],
    "single quotes": PLAIN.replace('"', "'"),
    "a dict of Python": (
        "{'title': 'Look', 'content': \"I look.\", 'next_action': 'final_answer', 'more': None}"
    ),
    "curly quotes": "{“title”: “Look”, “content”: “I look.”, “next_action”: “final_answer”}",
    "curly quotes around values": (
        '{"title": “Look”, "content": “I look.”, "next_action": “final_answer”}'
    ),
    "backticks": PLAIN.replace('"I look."', "`I look.`"),
    "three quotes": PLAIN.replace('"I look."', '"""I look."""'),
    "full-width colons": PLAIN.replace(":", "："),
    "full-width commas": PLAIN.replace(", ", "，"),
    "full-width quotes": PLAIN.replace('"', "＂"),
    "corner brackets": (
        "{「title」：「Look」，「content」：「I look.」，「next_action」：「final_answer」}"
    ),
    "unquoted names": '{title: "Look", content: "I look.", next_action: "final_answer"}',
    "nothing quoted": "{title: Look, content: I look., next_action: final_answer}",
    "equals signs": PLAIN.replace(": ", " = "),
    "missing commas": '{"title": "Look" "content": "I look." "next_action": "final_answer"}',
    "lines without commas": (
        '{\n"title": "Look"\n"content": "I look."\n"next_action": "final_answer"\n}'
    ),
    "stray commas": "{" + FIELDS + ",,}",
    "no braces": FIELDS,
    "no closing brace": "{" + FIELDS,
    "no opening brace": FIELDS + "}",
    "no closing quote": PLAIN[:-2],
    "comments": (
        '{\n"title": "Look", // a name\n"content": "I look.", // thinking\n'
        '"next_action": "final_answer"\n}'
    ),
    "lines of YAML": "title: Look\ncontent: I look.\nnext_action: final_answer",
    "lines of Markdown": "**Title:** Look\n**Content:** I look.\n**Next action:** final_answer",
    "other spellings": '{"Title": "Look", "CONTENT": "I look.", "nextAction": "Final Answer"}',
    "Chinese names": '{"标题": "Look", "内容": "I look.", "下一步": "final_answer"}',
    "another name for content": PLAIN.replace('"content"', '"thought"'),
    "content as lines": PLAIN.replace('"I look."', '["I look."]'),
}


@pytest.mark.parametrize("form", READ_FORMS)
def test_every_form_of_a_step_is_read(form: str) -> None:
    assert parse_step(READ_FORMS[form]) == LOOK


CONTENT_BY_FORM = {
    "inner quotes": (
        '{"title": "a", "content": "他说"你好"。", "next_action": "x"}',
        '他说"你好"。',
    ),
    "inner quotes at both ends": ('{"title": "a", "content": ""A" is "B""}', '"A" is "B"'),
    "inner quotes and commas": (
        '{"title": "a", "content": "say "x", "y" and {"z"} now", "next_action": "continue"}',
        'say "x", "y" and {"z"} now',
    ),
    "an inner name": (
        '{"title": "a", "content": "so "content": 5 is "it", not", "next_action": "continue"}',
        'so "content": 5 is "it", not',
    ),
    "inner curly quotes": (
        "{“title”: “a”, “content”: “他说“你好”。”, “next_action”: “continue”}",
        "他说“你好”。",
    ),
    "inner single quotes": ("{'title': 'a', 'content': 'it's Bob's'}", "it's Bob's"),
    "escaped single quotes": (r"{'title': 'a', 'content': 'it\'s'}", "it's"),
    "line breaks in a broken object": (
        '{title: "a", content: "one\\n\\ntwo\nthree \\"four\\""}',
        'one\n\ntwo\nthree "four"',
    ),
    "a content that comes last": (
        '{"title": "a", "next_action": "continue", "content": "x "y" z"} Shall I?',
        'x "y" z',
    ),
    "several steps": (
        '{"steps": [{"title": "a", "content": "b"}, {"title": "c", "content": "d"}]}',
        "b\n\nc\nd",
    ),
}


@pytest.mark.parametrize("form", CONTENT_BY_FORM)
def test_the_text_of_a_broken_step_is_whole_and_nothing_more(form: str) -> None:
    text, content = CONTENT_BY_FORM[form]
    step = parse_step(text)
    assert step is not None
    assert (step.title, step.content, step.is_final) == ("a", content, False)


LATEX = [
    (r"\frac{1}{2} \times \beta", r"\frac{1}{2} \times \beta"),
    (r"\(x^2\) and \[y\]", r"\(x^2\) and \[y\]"),
    (r"$\nabla \rho$", r"$\nabla \rho$"),
    (r"the angle \theta, \tau, \text{and} \nu", r"the angle \theta, \tau, \text{and} \nu"),
    (r"so x \ne 0 and \neg y", r"so x \ne 0 and \neg y"),
    (r"\binom{n}{k} \forall \bar x \right) \rightarrow \to", None),
    (r"\alpha\nu\nexists", None),
    (r"\underline{u} \upsilon \uparrow", None),
    (r"\begin{pmatrix}1 & 2 \\ 3 & 4\end{pmatrix}", None),
    (r"\\frac{1}{2}, \\nu and \\(x\\)", r"\frac{1}{2}, \nu and \(x\)"),
    (r"first:\nsecond\nuse it\nu = 3", "first:\nsecond\nuse it\nu = 3"),
    (r"\\frac{1}{2}\nnot so\nu = 3\tan apple", "\\frac{1}{2}\nnot so\nu = 3\tan apple"),
    (r"\frac{1}{2}.\nThe rest.\nu", "\\frac{1}{2}.\nThe rest.\nu"),
    (r"a\tb\ttop\nc\td\to", "a\tb\ttop\nc\td\to"),
    (r"接着\n我们看\t表", "接着\n我们看\t表"),
    (r"\u4f60\u597d \d+\s*\b", "你好 " + r"\d+\s*\b"),
    (r"a \/ b \"c\" d", 'a / b "c" d'),
]


@pytest.mark.parametrize(("written", "meant"), LATEX)
@pytest.mark.parametrize("quote", ['"', "'"], ids=["JSON", "single quotes"])
def test_latex_is_read_as_latex_and_a_line_break_as_a_line_break(
    written: str, meant: str | None, quote: str
) -> None:
    text = '{"title": "a", "content": "%s", "next_action": "continue"}'.replace('"', quote)
    step = parse_step(text % written)
    assert step is not None
    assert step.content == (written if meant is None else meant)
    assert parse_step(step.as_json()) == step


@pytest.mark.parametrize(
    "text",
    [
        "I would rather chat about the content: it is long.",
        "首先，我们看题目。\n\n其次，2 + 2 = 4。",
        "```\nx = 1\n```",
        "<answer>42</answer>",
        '{"title": "only a title"}',
    ],
)
def test_prose_is_the_text_of_a_last_step(text: str) -> None:
    assert parse_step(text) is None
    step = read_prose_step(text)
    assert step is not None
    assert step.is_final
    assert step.content in text


@pytest.mark.parametrize("text", ["", "{}", "  \n", "[[]]", "<think></think>"])
def test_an_answer_without_a_word_is_no_prose(text: str) -> None:
    assert read_prose_step(text) is None


def test_prose_behind_thinking_is_the_answer_and_thinking_alone_is_better_than_nothing() -> None:
    behind = read_prose_step("<think>hm</think> It is 4.")
    alone = read_prose_step("I think it is 4.</think>")
    assert behind is not None
    assert alone is not None
    assert (behind.content, alone.content) == ("It is 4.", "I think it is 4.")


HOSTILE = {
    "slashes": '{"title": "' + "/" * 60_000 + "\nx",
    "quotes and slashes": '{"title": ' + '"//' * 20_000 + "\nx",
    "quotes and spaces": '{"title": "a", "content": "' + '" ' * 30_000,
    "spaces": "title: a\ncontent: b" + " " * 60_000 + "x",
    "backslashes": '{"content": "' + "\\n" * 30_000 + "\\",
    "letters behind a backslash": '{"content": "\\' + "n" * 60_000,
    "names": '{"title": ' * 6_000,
    "bare names": "\ntitle: " * 8_000,
    "braces": '{"title": "a", "content": "' + '"}' * 30_000,
    "brackets": '{"title": "a" "content": ' + "[" * 60_000,
    "commas": '{"title": "a" "content": "b"' + " ," * 30_000 + "x",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_the_work_on_a_broken_step_grows_with_its_length_and_no_faster(case: str) -> None:
    def measure_seconds(text: str) -> float:
        seconds = []
        for _ in range(3):
            began = time.thread_time()
            parse_step(text)
            read_prose_step(text)
            seconds.append(time.thread_time() - began)
        return max(min(seconds), 0.0005)

    text = HOSTILE[case]
    # 32 times the text; if the work grew with the square: 1,024
    assert measure_seconds(text) <= 300 * measure_seconds(text[: len(text) // 32])
