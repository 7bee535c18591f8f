"""Texts with tool calls in every form, and texts that only look like calls."""

import json

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

FORMS = {
    "canonical": CANONICAL,
    "canonical on lines": f"<tool_call>\n{OBJECT}\n</tool_call>",
    "canonical without its end": f"<tool_call>{OBJECT}",
    "canonical with an id": '<tool_call>{"name": "weather", "arguments": {"city": "Graz"}, '
    '"id": "a"}</tool_call>',
    "canonical, a list": f"<tool_call>[{OBJECT}]</tool_call>",
    "canonical, arguments as text": '<tool_call>{"name":"weather",'
    '"arguments":"{\\"city\\": \\"Graz\\"}"}</tool_call>',
    "canonical, parameters": '<tool_call>{"name": "weather", '
    '"parameters": {"city": "Graz"}}</tool_call>',
    "canonical in a fence": f"```\n{CANONICAL}\n```",
    "fenced call": f"```json\n{OBJECT}\n```",
    "fenced list": f"```json\n{LIST}\n```\n",
    "fenced, with more marks and blanks": f"````JSON \n\n{OBJECT}\n\n````  ",
    "fenced without its end": f"```json\n{OBJECT}\n",
    "a list alone": LIST,
    "a list with more keys": '{"content": null, "tool_calls": [{"name": "weather", '
    '"arguments": {"city": "Graz"}}]}',
    "an object alone": OBJECT,
    "an object over lines": json.dumps(json.loads(OBJECT), indent=4) + "\n",
    "an object: tool, parameters": '{"tool": "weather", "parameters": {"city": "Graz"}}',
    "an object: function, arguments": '{"function": "weather", "arguments": {"city": "Graz"}}',
    "an object around": '{"type": "function", "function": {"name": "weather", '
    '"arguments": {"city": "Graz"}}}',
    "function_calls": "<function_calls>\n<function_call>\n<tool>weather</tool>\n<args>\n<city>"
    '"Graz"</city>\n</args>\n</function_call>\n</function_calls>',
    "function_call alone": "<function_call><tool>weather</tool>"
    "<args><city>Graz</city></args></function_call>",
    "function_call with JSON": f"<function_call>{OBJECT}</function_call>",
    "invoke": '<invoke name="weather">\n<parameter name="city">Graz</parameter>\n</invoke>',
    "invoke in function_calls": '<function_calls><invoke name="weather">'
    '<parameter name="city">Graz</parameter></invoke></function_calls>',
    "function with JSON": f"<function=weather>{GRAZ}</function>",
    "function with parameters": "<tool_call>\n<function=weather>\n<parameter=city>\nGraz\n"
    "</parameter>\n</function>\n</tool_call>",
    "Chinese": f"调用函数:weather 参数:{GRAZ}",
    "Chinese, wide": f"调用函数\uff1aweather\uff0c参数\uff1a{GRAZ}",
    "English": f"Call function: weather arguments: {GRAZ}",
    "English on lines": f"call function: weather\narguments:\n{GRAZ}",
}

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
    "arguments that are broken": '<tool_call>{"name": "weather", '
    '"arguments": "{\\"city"}</tool_call>',
    "another case": CANONICAL.replace('"weather"', '"Weather"'),
    "an empty list": '{"tool_calls": []}',
    "no list": '{"tool_calls": {"name": "weather", "arguments": {}}}',
    "broken JSON": "<tool_call>{'name': 'weather' 'arguments': {}}</tool_call>",
    "cut": CANONICAL[:40],
    "tags that are not closed": '<invoke name="weather"><parameter name="city">Graz',
    "words without an object": "调用函数:weather 参数:无。 Call function: weather arguments: none.",
    "words glued": f"Recall function: weather arguments: {GRAZ}",
    "CSS and math": "a { color: red } if (a < b && c > d) { x[0] = {}; } "
    "[1, 2] [a](b) ~~no~~ {{ x }}",
    "white space": " \n\n ",
}
