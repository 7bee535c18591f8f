"""Calls in the style of public function-calling sets, and answers without a call."""

# ruff: noqa: RUF001 - the signs are those that models write

import random
from typing import Any

JsonObject = dict[str, Any]
CASE_COUNT = 300

TEXTS = (
    "Graz",
    "北京市朝阳区",
    "São Paulo, Brasil",
    "Zürich – Altstadt",
    "東京タワー",
    'He said "yes" and left',
    "It's L'Aquila",
    "two\nlines\n  and an indent",
    "tab\there, back\\slash, C:\\new\\table",
    "a < b && c > d; {x} [y] (z)",
    "SELECT * FROM users WHERE name = 'O''Brien';",
    "def f(x):\n    return {'a': [x]}\n",
    "<b>bold</b> & <i>italic</i>",
    "https://example.org/path?q=1&r=%20#frag",
    "🙂 emoji 👨‍👩‍👧",
    "42",
    "true",
    "null",
    "[1, 2]",
    '{"not": "an object"}',
    "",
    "“curly” ‘quotes’，全角：标点",
    "`code` and ```fence```",
    "trailing comma, ",
)
NUMBERS = (0, 1, -7, 42, 100_000, 3.25, -0.5, 1e-3, 2_147_483_648)
UNITS = ("celsius", "fahrenheit", "开尔文")


def make_tool(name: str, properties: JsonObject, required: list[str]) -> JsonObject:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"name": name, "description": f"Does {name}.", "parameters": parameters}


TOOLS = {
    tool["name"]: tool
    for tool in (
        make_tool(
            "get_current_weather",
            {
                "location": {"type": "string"},
                "unit": {"type": "string", "enum": list(UNITS)},
                "days": {"type": "integer"},
            },
            ["location"],
        ),
        make_tool("list_events", {}, []),
        make_tool(
            "calculate_loan",
            {
                "principal": {"type": "number"},
                "rate": {"type": "number"},
                "fixed": {"type": "boolean"},
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            ["principal", "rate"],
        ),
        make_tool(
            "create_order",
            {
                "customer": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "vip": {"type": "boolean"}},
                },
                "items": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "sku": {"type": "string"},
                            "quantity": {"type": "integer"},
                            "tags": {"type": "array", "items": {"type": "string"}},
                        },
                    },
                },
                "comment": {"type": "string"},
            },
            ["items"],
        ),
        make_tool(
            "write_file", {"path": {"type": "string"}, "content": {"type": "string"}}, ["path"]
        ),
        make_tool(
            "search_documents",
            {
                "query": {"type": "string"},
                "filters": {"type": "object"},
                "ids": {"type": "array", "items": {"type": "integer"}},
                "limit": {"type": "integer"},
            },
            ["query"],
        ),
    )
}


def make_arguments(name: str, draw: random.Random) -> JsonObject:
    """Arguments that fit the tool, with values of every kind."""
    text = draw.choice(TEXTS)
    other = draw.choice(TEXTS)
    match name:
        case "get_current_weather":
            arguments: JsonObject = {"location": text}
            if draw.random() < 0.7:
                arguments |= {"unit": draw.choice(UNITS), "days": draw.randrange(-3, 30)}
            return arguments
        case "list_events":
            return {}
        case "calculate_loan":
            note = draw.choice((None, "as agreed", "Zinsen über 5 Jahre"))
            numbers = {"principal": draw.choice(NUMBERS), "rate": draw.choice(NUMBERS)}
            return numbers | {"fixed": draw.random() < 0.5, "note": note}
        case "create_order":
            items = [
                {"sku": text, "quantity": draw.randrange(9), "tags": [other, text][: count % 3]}
                for count in range(draw.randrange(4))
            ]
            customer = {"name": other, "vip": draw.random() < 0.5}
            return {"customer": customer, "items": items, "comment": text}
        case "write_file":
            return {"path": f"src/{draw.randrange(99)}.py", "content": f"{text} {other}"}
    filters = {"lang": draw.choice(("zh", "en")), "deep": {"a": [1, {"b": [None, True, text]}]}}
    ids = [draw.randrange(10_000) for _ in range(draw.randrange(5))]
    return {"query": text, "filters": filters, "ids": ids, "limit": draw.randrange(50)}


def list_cases(count: int = CASE_COUNT) -> list[tuple[str, JsonObject]]:
    """The same names and arguments each time."""
    draw = random.Random(20_251_109)
    names = list(TOOLS)
    cases = []
    for number in range(count):
        name = names[number % len(names)]
        cases.append((name, make_arguments(name, draw)))
    return cases


CODE = {
    "python": "def get_current_weather(location):\n    return get(URL, params={'q': location})\n",
    "json": '{\n  "location": "Graz",\n  "unit": "celsius",\n  "list": [1, 2, {"a": "b"}]\n}\n',
    "xml": '<config>\n  <tool name="x">\n    <parameter>1</parameter>\n  </tool>\n</config>\n',
    "javascript": "const call = { name: 'get_current_weather', arguments: { location } };\n",
    "bash": "curl -s \"$U/v1\" -d '{\"tools\": []}' | jq '.[0]'\n",
    "": "[TOOL_CALLS] is a token; so is <|python_tag|>\n",
}
SENTENCES = (
    "A tool call has a name and arguments, like get_current_weather(location).",
    "The tag <tool_call> opens a call and </tool_call> ends it.",
    "Kimi writes <|tool_calls_section_begin|> before its calls, and <|tool_call_end|> after each.",
    "Mistral's token is [TOOL_CALLS], followed by a list.",
    "In harmony, <|channel|>commentary is for calls and <|channel|>final<|message|> for answers.",
    "DeepSeek uses <｜tool▁calls▁begin｜> and <｜tool▁sep｜>.",
    "MiniMax M3 puts ]<]minimax[>[ before each tag, as in ]<]minimax[>[<tool_call>.",
    "Cohere's calls stand between <|START_ACTION|> and <|END_ACTION|>; before, Action: was a word.",
    "Granite writes <|tool_call|> and InternLM <|action_start|><|plugin|>, then JSON.",
    "Action: ```json and a list follow; functools[0] is Python, functools[ alone is nothing.",
    'The object {"name": "get_current_weather"} alone does nothing.',
    'Arguments such as {"location": "Graz", "days": 3} are JSON.',
    "Use [list_events](https://example.org/docs) or [1, 2, 3].",
    "Write `<function=list_events>{}</function>` to call it.",
    '<invoke name="unknown_tool"><parameter name="a">1</parameter></invoke>',
    '<tool_call>{"name": "unknown_tool", "arguments": {"a": 1}}</tool_call>',
    "<tool_call>not_a_tool\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>",
    "<|tool_call_begin|>functions.unknown_tool:0<|tool_call_argument_begin|>{}<|tool_call_end|>",
    "[unknown_tool(a=1)]",
    '<|python_tag|>print("hello")',
    "我可以调用函数来查询天气，但现在不需要。",
    'Es gilt: a < b, c[0] = {}, und "x" ist kein Aufruf.',
    "| tool | does |\n|---|---|\n| list_events | lists |",
    "1. First `list_events`\n2. then *create_order*\n",
    '<details>\n<summary>Log</summary>\n{"level": "info", "tool": 5}\n</details>',
    "$$\\frac{a}{b} = \\left\\{ x \\in [0, 1) \\right\\}$$",
    '{"name": "list_events", "parameters": {"type": "object", "properties": {}}}',
    '[{"role": "user", "content": "hi"}]',
    "<think>I could write <tool_call>{} here.</think> No.",
    "call function: none is needed.",
    "`[list_events()]` is Python.",
    "She said: \"<tool_call>\" is a tag, 'functions.list_events:0' an id.",
)


def list_answers_without_calls(count: int = 1_000) -> list[str]:
    """Answers with code, XML, JSON, Markdown and talk of calls, and never a call."""
    draw = random.Random(7)
    answers = []
    for number in range(count):
        parts = draw.sample(SENTENCES, draw.randrange(1, 5))
        language = draw.choice(list(CODE))
        if number % 3 == 0:
            parts.insert(draw.randrange(len(parts)), f"```{language}\n{CODE[language]}```")
        if number % 5 == 0:
            name, arguments = draw.choice(CALLED)
            parts.append(f"```python\nanswer = {name}(**{arguments!r})\n```")
        answers.append(
            draw.choice(("\n\n", "\n", " ")).join(parts) if number % 3 else "\n\n".join(parts)
        )
    return answers


CALLED = list_cases(60)
