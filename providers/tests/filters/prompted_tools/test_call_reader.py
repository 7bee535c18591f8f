"""Tool calls found in a model's text, and text that is none left as it is."""

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from providers.filters import choose_filters
from providers.filters.prompted_tools.call_reader import CallReader
from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.call_syntax import WrittenCall
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk, make_delta
from providers.protocol.request import ChatRequest, UpstreamModel

FAST = settings(derandomize=True, database=None, deadline=None, max_examples=200)
PROPERTIES = {"city": {"type": "string"}, "days": {"type": "integer"}}
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": PROPERTIES}}
TOOLS = {"weather": WEATHER, "get-time.v2": {"name": "get-time.v2"}}
GRAZ = '{"city":"Graz"}'
OBJECT = '{"name": "weather", "arguments": {"city": "Graz"}}'
CANONICAL = f"<tool_call>{OBJECT}</tool_call>"
LIST = (
    '{"tool_calls": [{"id": "x", "type": "function", "function": {"name": "weather", '
    '"arguments": "{\\"city\\":\\"Graz\\"}"}}]}'
)
Items = list[str | tuple[str, Any]]


def read(*pieces: str, parallel: bool = True, tools: Any = TOOLS) -> Items:
    """Text and (name, arguments), in order, neighbouring texts joined."""
    scan = CallScanner(tools, is_parallel=parallel)
    found: Items = []
    for item in [*(item for piece in pieces for item in scan.feed(piece)), *scan.finish_text()]:
        if isinstance(item, WrittenCall):
            found.append((item.name, json.loads(item.arguments)))
        elif found and isinstance(found[-1], str):
            found[-1] += item
        else:
            found.append(item)
    return found


ONE: Items = [("weather", {"city": "Graz"})]

# --- forms ----------------------------------------------------------------------------------------
FORMS = {
    "canonical": CANONICAL,
    "canonical on lines": f"<tool_call>\n{OBJECT}\n</tool_call>",
    "canonical without its end": f"<tool_call>{OBJECT}",
    "canonical with an id": '<tool_call>{"name": "weather", "arguments": {"city": "Graz"}, "id": "a"}</tool_call>',
    "canonical, a list": f"<tool_call>[{OBJECT}]</tool_call>",
    "canonical, arguments as text": '<tool_call>{"name":"weather","arguments":"{\\"city\\": \\"Graz\\"}"}</tool_call>',
    "canonical, parameters": '<tool_call>{"name": "weather", "parameters": {"city": "Graz"}}</tool_call>',
    "canonical in a fence": f"```\n{CANONICAL}\n```",
    "fenced call": f"```json\n{OBJECT}\n```",
    "fenced list": f"```json\n{LIST}\n```\n",
    "fenced, with more marks and blanks": f"````JSON \n\n{OBJECT}\n\n````  ",
    "fenced without its end": f"```json\n{OBJECT}\n",
    "a list alone": LIST,
    "a list with more keys": '{"content": null, "tool_calls": [{"name": "weather", "arguments": {"city": "Graz"}}]}',
    "an object alone": OBJECT,
    "an object over lines": json.dumps(json.loads(OBJECT), indent=4) + "\n",
    "an object: tool, parameters": '{"tool": "weather", "parameters": {"city": "Graz"}}',
    "an object: function, arguments": '{"function": "weather", "arguments": {"city": "Graz"}}',
    "an object around": '{"type": "function", "function": {"name": "weather", "arguments": {"city": "Graz"}}}',
    "function_calls": "<function_calls>\n<function_call>\n<tool>weather</tool>\n<args>\n<city>"
    '"Graz"</city>\n</args>\n</function_call>\n</function_calls>',
    "function_call alone": "<function_call><tool>weather</tool><args><city>Graz</city></args></function_call>",
    "function_call with JSON": f"<function_call>{OBJECT}</function_call>",
    "invoke": '<invoke name="weather">\n<parameter name="city">Graz</parameter>\n</invoke>',
    "invoke in function_calls": '<function_calls><invoke name="weather"><parameter name="city">Graz</parameter>'
    "</invoke></function_calls>",
    "function with JSON": f"<function=weather>{GRAZ}</function>",
    "function with parameters": "<tool_call>\n<function=weather>\n<parameter=city>\nGraz\n</parameter>\n</function>\n"
    "</tool_call>",
    "Chinese": f"调用函数:weather 参数:{GRAZ}",
    "Chinese, wide": f"调用函数\uff1aweather\uff0c参数\uff1a{GRAZ}",
    "English": f"Call function: weather arguments: {GRAZ}",
    "English on lines": f"call function: weather\narguments:\n{GRAZ}",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_is_a_call(text: str) -> None:
    assert read(text) == ONE


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_may_come_character_by_character_and_after_text(text: str) -> None:
    assert read(*text) == ONE
    assert read("Let me see.\n\n", *text) == ["Let me see.\n\n", *ONE]


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_no_form_counts_with_a_name_that_is_no_tool(text: str) -> None:
    other = text.replace("weather", "wether")
    assert read(other) == [other]
    assert read(*other) == [other]


NESTED = {"city": {"a": [{"b": {"c": "}{][\"'`</tool_call>"}}], "d": {}}, "e": "\\", "f": "\n"}


@pytest.mark.parametrize(
    "form",
    [
        "<tool_call>{call}</tool_call>",
        "```json\n{call}\n```",
        '{{"tool_calls": [{call}]}}',
        "{call}",
        "<function=weather>{arguments}</function>",
        "调用函数:weather 参数:{arguments}",
        "call function: weather arguments: {arguments}",
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_arguments_may_be_nested_and_hold_any_character(form: str, as_text: bool) -> None:
    arguments = json.dumps(NESTED)
    call = json.dumps({"name": "weather", "arguments": arguments if as_text else NESTED})
    text = form.format(call=call, arguments=arguments)
    assert read(text) == read(*text) == [("weather", NESTED)]


def test_a_name_that_is_no_text_leaves_the_other_name_of_the_tool() -> None:
    text = '{"name": null, "tool": "weather", "arguments": {"city": "Graz"}}'
    assert read(text) == read(*text) == ONE


def test_lines_may_be_broken_within_a_text() -> None:
    text = (
        '<tool_call>{"name": "weather", "arguments": {"city": "two\nlines\tand a tab"}}</tool_call>'
    )
    assert read(text) == [("weather", {"city": "two\nlines\tand a tab"})]


@pytest.mark.parametrize(
    "nothing", ['"arguments": {}', '"arguments": ""', '"arguments": null', '"id": "x"']
)
def test_no_arguments_are_an_empty_object(nothing: str) -> None:
    assert read(f'<tool_call>{{"name": "get-time.v2", {nothing}}}</tool_call>') == [
        ("get-time.v2", {})
    ]


def test_what_stands_between_tags_has_the_type_that_the_schema_says() -> None:
    text = (
        '<invoke name="weather"><parameter name="city">8010</parameter><parameter '
        'name="days">3</parameter></invoke>'
    )
    assert read(text) == [("weather", {"city": "8010", "days": 3})]


def test_several_calls_in_one_text_keep_their_order_and_the_text_between_them() -> None:
    text = f"First:\n{CANONICAL}\n{CANONICAL}\nthen\n```json\n{OBJECT}\n```\n{OBJECT}\n"
    assert read(text) == ["First:\n", *ONE, *ONE, "\nthen\n", *ONE, *ONE]


def test_several_calls_in_one_list_are_several() -> None:
    both = (
        '{"tool_calls": [{"name": "weather", "arguments": {"city": "Graz"}}, {"name": '
        '"get-time.v2"}]}'
    )
    assert read(both) == [*ONE, ("get-time.v2", {})]
    assert read(f"```json\n{OBJECT}\n{OBJECT}\n```") == ONE * 2
    invoked = FORMS["invoke"]
    assert read(f"<function_calls>{invoked}\n{invoked}</function_calls>") == ONE * 2


def test_of_calls_that_must_not_come_at_once_only_the_first_counts() -> None:
    assert read(f"a\n{CANONICAL}\n{CANONICAL}\n", parallel=False) == ["a\n", *ONE]
    assert read(f"<tool_call>[{OBJECT}, {OBJECT}]</tool_call>", parallel=False) == ONE


# --- precision ------------------------------------------------------------------------------------
PROSE = {
    "plain": (
        "A tool is called with <tool_call> and closed with </tool_call>; {braces} and `code` are "
        "kept.\n"
    ),
    "inline code": f"You could call `{OBJECT}` or ``{LIST}``.\n{'`' * 3}{OBJECT}{'`' * 3}\n",
    "inline code with tags": f"Write `{CANONICAL}` in your answer.",
    "in a sentence": f"You would send {OBJECT} to it.",
    "at the end of a sentence": f"You would then send {OBJECT}\n",
    "followed by text": f"{OBJECT} is what I would send.",
    "quoted": f'Send "{OBJECT}"\n',
    "another language": f"```python\n{OBJECT}\n{CANONICAL}\n```\n~~~js\n{LIST}\n~~~\n",
    "another language, not closed": f"```python\n{CANONICAL}\n``\n",
    "a fence with more than the call": f"```json\n{OBJECT}\n# so\n```\n",
    "a fence in a fence": f"````markdown\n```json\n{OBJECT}\n```\n````\n",
    "in thinking between tags": f"<think>\n{CANONICAL}\n</think>\nNo.",
    "in thinking that never ends": f"<think>\n{CANONICAL}\n",
    "in reasoning details": f'<details type="reasoning" done="true">\n{OBJECT}\n</details>\n',
    "within other JSON": f'{{"items": [\n{OBJECT}\n]}}',
    "within other JSON, alone": f'{{"a": "b",\n"example":\n{OBJECT}\n}}\n',
    "within a list": f"[\n{OBJECT},\n{OBJECT}\n]\n",
    "a definition": '{"name": "weather", "description": "d", "parameters": {"city": "x"}}',
    "a schema": (
        '{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": '
        '"string"}}}}'
    ),
    "a definition in a fence": f"```json\n{json.dumps(WEATHER)}\n```",
    "only a name": '{"name": "weather"}',
    "more keys": '{"name": "weather", "arguments": {}, "rating": 5}',
    "arguments that are no object": '<tool_call>{"name": "weather", "arguments": [1]}</tool_call>',
    "arguments that are a text": '<tool_call>{"name": "weather", "arguments": "Graz"}</tool_call>',
    "arguments that are broken": '<tool_call>{"name": "weather", "arguments": "{\\"city"}</tool_call>',
    "another case": CANONICAL.replace('"weather"', '"Weather"'),
    "an empty list": '{"tool_calls": []}',
    "no list": '{"tool_calls": {"name": "weather", "arguments": {}}}',
    "broken JSON": "<tool_call>{'name': 'weather', 'arguments': {}}</tool_call>",
    "cut": CANONICAL[:40],
    "tags that are not closed": '<invoke name="weather"><parameter name="city">Graz',
    "words without an object": "调用函数:weather 参数:无。 Call function: weather arguments: none.",
    "words glued": f"Recall function: weather arguments: {GRAZ}",
    "CSS and math": "a { color: red } if (a < b && c > d) { x[0] = {}; } [1, 2] [a](b) ~~no~~ {{ x }}",
    "white space": " \n\n ",
}


@pytest.mark.parametrize("text", PROSE.values(), ids=PROSE)
def test_what_is_no_call_stays_as_it_is(text: str) -> None:
    assert read(text) == [text]
    assert read(*text) == [text]


def test_a_call_behind_prose_code_and_thinking_counts() -> None:
    before = (
        PROSE["plain"]
        + PROSE["another language"]
        + PROSE["inline code"]
        + PROSE["in thinking between tags"]
    )
    assert read(f"{before}\n{CANONICAL}") == [f"{before}\n", *ONE]


def test_a_backtick_that_is_never_closed_ends_with_its_line() -> None:
    assert read(f"A lone ` here.\n{CANONICAL}") == ["A lone ` here.\n", *ONE]


# --- streaming ------------------------------------------------------------------------------------
def fed(*pieces: str) -> list[list[str | WrittenCall]]:
    scan = CallScanner(TOOLS)
    return [scan.feed(piece) for piece in pieces]


def test_text_goes_out_at_once() -> None:
    texts = ["Hello", " there, ", "a < b", " and {x}", " `code", " in it` ", "c d\n", "* x\n"]
    assert fed(*texts) == [[text] for text in texts]


def test_a_possible_beginning_is_held_and_given_back_as_soon_as_it_is_none() -> None:
    assert fed("So <tool", "_c", "at> ok") == [["So "], [], ["<tool_cat> ok"]]
    assert fed('{"na', 'me": "w', 'ether", ', '"x": 1') == [
        [],
        [],
        ['{"name": "wether", '],
        ['"x": 1'],
    ]
    assert fed('{"items"', ": [", '1, {"b": ') == [[], ['{"items": ['], ['1, {"b": ']]


def test_a_call_goes_out_as_soon_as_it_is_certain() -> None:
    found = fed("a\n<tool_call>", OBJECT[:-1], "}", "\n</tool_call>")
    assert found == [["a\n"], [], [WrittenCall("weather", GRAZ)], []]
    assert fed(OBJECT, " ", "\n") == [[], [], [WrittenCall("weather", GRAZ)]]


PARTS = [
    *FORMS.values(),
    *PROSE.values(),
    "\n",
    " ",
    "Hi. ",
    "`",
    "```",
    "```json\n",
    "~~~",
    "<",
    "{",
    '{"',
    "}",
    '"',
]
PARTS += [
    "\\",
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "<function_calls>",
    "call function:",
    "调",
    "[",
]


@FAST
@given(st.lists(st.sampled_from(PARTS), max_size=8), st.data())
def test_how_a_text_is_cut_changes_nothing(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=30)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = read(text)
    assert read(*pieces) == whole
    assert read(*text) == whole


@FAST
@given(st.text(st.sampled_from('`~<>{}[]":,\\ \n/=abctool_')))
def test_text_without_a_tools_name_is_never_changed(text: str) -> None:
    assert "".join(str(item) for item in read(*text)) == text


HOSTILE = [
    *(
        "{",
        "<tool_call>",
        "`",
        '"',
        "\\",
        "<",
        '{"',
        '{"a":',
        '[{"',
        "<tool_call>{",
        "```json\n",
        "~",
        "\n",
        "`a",
        "c",
    ),
    *(
        "<function_calls><tool_call>",
        '{"name":"weather","arguments":"\\',
        '{"a":[1,',
        "call function: ",
        "[1,",
        "<think>",
    ),
    *(
        '<invoke name="weather"><parameter name="',
        "调用函数:weather 参数:{",
        '<tool_call>{"name":"weather"',
    ),
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_twice_the_text_takes_about_twice_the_time(hostile: str) -> None:
    def seconds(size: int) -> float:
        text, scan = hostile * (size // len(hostile)), CallScanner(TOOLS)
        began = time.process_time()
        for start in range(0, size, 64):
            scan.feed(text[start : start + 64])
        scan.finish_text()
        return time.process_time() - began

    small, large = min(seconds(10_000) for _ in range(3)), min(seconds(80_000) for _ in range(2))
    assert large < 8 * small * 3 + 0.05  # were it quadratic, it would take 64 times as long


def test_a_megabyte_is_no_hang() -> None:
    began = time.process_time()
    for hostile in ("{", "<tool_call>", "`", '"', "\\", "<"):
        read(hostile * (1_000_000 // len(hostile)))
    assert time.process_time() - began < 20


# --- chunks ---------------------------------------------------------------------------------------
REQUEST = ChatRequest("0" * 32, "chat/completions", "m", {})


def asked(**fields: Any) -> ChatRequest:
    tools = [{"type": "function", "function": tool} for tool in TOOLS.values()]
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": tools} | fields
    return ChatRequest("0" * 32, "chat/completions", "m", body)


def reader(**fields: Any) -> tuple[CallReader, Attempt]:
    attempt = Attempt("p", "m")
    return CallReader(asked(**fields), attempt), attempt


def answer(*texts: str, finish: str = "stop", **first: Any) -> list[Chunk]:
    said = [
        make_delta(REQUEST, role="assistant", content=None, **first),
        *(make_delta(REQUEST, content=text) for text in texts),
    ]
    return [*said, make_delta(REQUEST, finish_reason=finish)]


def through(filter_: CallReader, chunks: list[Chunk]) -> list[Chunk]:
    return [out for chunk in copy.deepcopy(chunks) for out in filter_.filter_chunks([chunk])]


def message(chunks: list[Chunk]) -> Any:
    """The choice that OpenAI's own client puts together, each chunk checked against the official
    schema.
    """
    state = ChatCompletionStreamState()
    for one in chunks:
        list(state.handle_chunk(ChatCompletionChunk.model_validate(one)))
    return state.get_final_completion().choices[0]


def test_calls_become_tool_calls_with_index_id_type_and_a_finish_reason() -> None:
    out = through(
        reader()[0], answer("Let me", " see.\n", CANONICAL[:20], CANONICAL[20:], f"\n{CANONICAL}")
    )
    parts = [part for chunk in out for part in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert [part["index"] for part in parts] == [0, 1]
    assert len({part["id"] for part in parts}) == 2
    assert all(part["id"].startswith("call_") and part["type"] == "function" for part in parts)
    found = message(out)
    assert found.finish_reason == "tool_calls"
    assert found.message.role == "assistant"
    assert found.message.content == "Let me see.\n"
    assert [call.function.arguments for call in found.message.tool_calls] == [GRAZ, GRAZ]


@pytest.mark.parametrize(
    "fields", [{}, {"tool_choice": "required"}, {"parallel_tool_calls": False}]
)
def test_how_an_answer_is_cut_into_chunks_changes_nothing(fields: dict[str, Any]) -> None:
    text = f"Let me see `{{` <b>.\n{CANONICAL}\nand\n{FORMS['fenced call']}\n{PROSE['plain']}"
    found = []
    for size in (1, 2, 3, 5, 8, 13, len(text)):
        choice = message(
            through(
                reader(**fields)[0],
                answer(*(text[at : at + size] for at in range(0, len(text), size))),
            )
        )
        calls = [
            (call.function.name, call.function.arguments) for call in choice.message.tool_calls
        ]
        found.append((choice.finish_reason, choice.message.content, calls))
    assert all(one == found[0] for one in found)
    assert found[0][2] == [("weather", GRAZ)] * (1 if "parallel_tool_calls" in fields else 2)
    assert found[0][1].startswith("Let me see `{` <b>.\n")
    assert found[0][1].endswith(PROSE["plain"])


def test_an_answer_that_is_only_a_call_has_no_content() -> None:
    found = message(through(reader()[0], answer(f"\n\n{CANONICAL}\n")))
    assert found.message.content is None
    assert len(found.message.tool_calls) == 1


def test_an_answer_without_a_call_passes_as_it_was() -> None:
    given_ = answer("No ", "{tools} ", "here.")
    assert through(reader()[0], given_) == given_


def test_what_is_held_at_the_end_goes_out_before_the_finish_reason() -> None:
    out = through(reader()[0], answer("a", "<tool_", finish="length"))
    assert [chunk["choices"][0]["delta"].get("content") for chunk in out] == [None, "a", "<tool_"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in out] == [None, None, "length"]


def test_one_chunk_with_text_a_call_and_the_finish_reason_is_split() -> None:
    chunk = make_delta(
        REQUEST, finish_reason="stop", role="assistant", content=f"a\n{CANONICAL}"
    ) | {"usage": {"x": 1}}
    chunk["choices"][0]["logprobs"] = {"content": []}
    out = through(reader()[0], [chunk])
    assert [one["choices"][0]["finish_reason"] for one in out if one["choices"]] == [
        None,
        None,
        "tool_calls",
    ]
    assert [one["choices"][0]["logprobs"] for one in out if one["choices"]] == [
        {"content": []},
        None,
        None,
    ]
    assert [one["usage"] for one in out if one.get("usage")] == [{"x": 1}]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_that_was_cut_says_so_with_its_calls(reason: str) -> None:
    called, last = through(reader()[0], answer(CANONICAL, finish=reason))[-2:]
    assert len(called["choices"][0]["delta"]["tool_calls"]) == 1
    assert last["choices"][0]["finish_reason"] == reason


def test_thinking_is_not_looked_at_and_goes_out_at_once() -> None:
    thought = make_delta(REQUEST, role="assistant", reasoning_content=CANONICAL)
    filter_ = reader(tool_choice="required")[0]
    assert filter_.filter_chunks([copy.deepcopy(thought)]) == [thought]
    (held,) = filter_.filter_chunks([make_delta(REQUEST, reasoning_content="so", content="a")])
    assert held["choices"][0]["delta"] == {"reasoning_content": "so"}


def test_choices_are_read_each_by_itself() -> None:
    chunks = answer("a ", CANONICAL)
    other = copy.deepcopy(answer(CANONICAL[:30], CANONICAL[30:]))
    for chunk in other:
        chunk["choices"][0]["index"] = 1
    mixed = [chunk for pair in zip(chunks, other, strict=True) for chunk in pair]
    out = through(reader()[0], mixed)
    for index in (0, 1):
        own = [chunk for chunk in out if chunk["choices"][0]["index"] == index]
        assert sum(len(chunk["choices"][0]["delta"].get("tool_calls", ())) for chunk in own) == 1
        assert own[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_two_choices_in_one_chunk_are_kept() -> None:
    chunk = make_delta(REQUEST, content="a")
    chunk["choices"].append({**chunk["choices"][0], "index": 1, "delta": {"content": "b <tool"}})
    (out,) = reader()[0].filter_chunks([chunk])
    assert [choice["delta"]["content"] for choice in out["choices"]] == ["a", "b "]


def test_a_chunk_of_usage_passes() -> None:
    chunk: Chunk = {"choices": [], "usage": {"prompt_tokens": 1}}
    assert reader()[0].filter_chunks([chunk]) == [chunk]


def test_with_a_named_choice_only_that_tool_counts() -> None:
    choice = {"type": "function", "function": {"name": "get-time.v2"}}
    filter_, attempt = reader(tool_choice=choice)
    found = message(through(filter_, answer(CANONICAL)))
    assert (found.message.content, found.finish_reason, attempt.lacks_tool_call) == (
        CANONICAL,
        "stop",
        True,
    )
    filter_, attempt = reader(tool_choice=choice)
    found = message(through(filter_, answer(CANONICAL.replace('"weather"', '"get-time.v2"'))))
    assert (found.finish_reason, attempt.lacks_tool_call) == ("tool_calls", False)


def test_without_parallel_calls_only_the_first_counts() -> None:
    found = message(through(reader(parallel_tool_calls=False)[0], answer(CANONICAL, CANONICAL)))
    assert len(found.message.tool_calls) == 1
    assert found.message.content is None


def test_an_answer_that_must_call_is_held_until_it_does() -> None:
    filter_, attempt = reader(tool_choice="required")
    assert filter_.filter_chunks([make_delta(REQUEST, content="Let me see.")]) == []
    out = filter_.filter_chunks([make_delta(REQUEST, content=CANONICAL)])
    assert out[0]["choices"][0]["delta"] == {"content": "Let me see."}
    assert "tool_calls" in out[1]["choices"][0]["delta"]
    (after,) = filter_.filter_chunks([make_delta(REQUEST, content=" So.")])
    assert after["choices"][0]["delta"] == {"content": " So."}
    assert not attempt.lacks_tool_call


def test_that_no_call_came_is_reported_and_the_text_given_back() -> None:
    filter_, attempt = reader(tool_choice="required")
    *held, last = answer("No, ", "<tool", " I will not.")
    assert [out["choices"][0]["delta"] for out in through(filter_, held)] == [
        {"role": "assistant", "content": None}
    ]
    assert not attempt.lacks_tool_call
    out = through(filter_, [last])
    assert attempt.lacks_tool_call
    assert (
        "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in out)
        == "No, <tool I will not."
    )
    assert out[-1]["choices"][0]["finish_reason"] == "stop"


def test_several_choices_are_not_asked_for_again() -> None:
    filter_, attempt = reader(tool_choice="required", n=2)
    through(filter_, answer("No."))
    assert not attempt.lacks_tool_call


def test_a_caller_of_the_older_kind_gets_a_function_call() -> None:
    filter_, _ = reader(tools=None, functions=list(TOOLS.values()))
    out = through(filter_, answer(CANONICAL, CANONICAL))
    found = message(out)
    assert found.message.function_call.name == "weather"
    assert found.finish_reason == "function_call"
    assert sum("function_call" in chunk["choices"][0]["delta"] for chunk in out) == 1


@pytest.mark.parametrize(
    ("tools", "fields", "count"),
    [
        ("prompt", {}, 1),
        ("prompt", {"tool_choice": "none"}, 0),
        ("prompt", {"tools": None}, 0),
        ("native", {}, 0),
        ("none", {}, 0),
    ],
)
def test_who_needs_the_filter(tools: str, fields: dict[str, Any], count: int) -> None:
    model = UpstreamModel("m", tools=tools)
    assert len(choose_filters(asked(**fields), model, Attempt("p", "m"))) == count


def test_a_call_in_thinking_that_is_shown_in_the_text_is_none() -> None:
    model = UpstreamModel("m", tools="prompt", thinks="tagged", thinking="inline")
    steps = choose_filters(asked(), model, Attempt("p", "m"))
    chunks = answer(f"<think>I could\n{CANONICAL}\n", "</think>", "No need.")
    for step in steps:
        chunks = through(step, chunks)  # type: ignore[arg-type]
    found = message(chunks)
    assert found.message.tool_calls is None
    assert CANONICAL in found.message.content
    assert found.message.content.endswith("No need.")


def test_a_call_behind_thinking_counts() -> None:
    model = UpstreamModel("m", tools="prompt", thinks="tagged", thinking="hidden")
    chunks = answer(f"<think>I could\n{CANONICAL.replace('Graz', 'Wien')}\n</think>\n\n{CANONICAL}")
    for step in choose_filters(asked(), model, Attempt("p", "m")):
        chunks = through(step, chunks)  # type: ignore[arg-type]
    found = message(chunks)
    assert [call.function.arguments for call in found.message.tool_calls] == [GRAZ]
    assert found.finish_reason == "tool_calls"
