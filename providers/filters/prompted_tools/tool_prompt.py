"""Tool calling in words: what a caller offers to be called, and the sentences and the form that say
it to a model that has no tool calling of its own. No I/O.

The canonical form of a call, in prompts and in the history alike, is one line `<tool_call>{"name":
NAME, "arguments": {…}}</tool_call>`: models of the Hermes and Qwen families were trained on it.
Shapes of `tools` and `tool_choice`: OpenAI's API reference, "Chat completions"; `functions` and
`function_call` are their older names.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from providers.wire.json_reader import loads

FIELDS = ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call")

HEAD = """# Tools

You can call the tools below. Each one is given with its name, what it does, and the JSON Schema \
of its arguments."""
FORM = """## How to call a tool

Write each call on a line of its own, in exactly this form and with nothing else on the line:

<tool_call>{"name": "NAME", "arguments": {"PARAMETER": VALUE}}</tool_call>

- NAME is the name of one of the tools above, letter for letter.
- "arguments" is one valid JSON object. Its keys are the exact parameter names of the schema, with \
all that are required and none that the schema does not have; {} when there is nothing to give.
- Put no code fence around a call, and do not describe calls in other words.
- After your calls stop writing: the results come in the next message, each in a <tool_result> \
block with the name of its tool. Never write such a block yourself."""
MAY = "- When no tool is needed, answer as usual and write no such line."
SEVERAL = "- Several calls may be made at once, one per line."
ONE = "- Make at most one call per answer."
MUST = "- You must call {what} now: your answer has to contain the call, in the form above."
CORRECTION = (
    "Your last answer called no tool, but {what} must be called now. Answer again with the call "
    "alone, in exactly "
    'this form: <tool_call>{{"name": {name}, "arguments": {{…}}}}</tool_call>'
)


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be called in one answer: `tools` are function objects ({name, description,
    parameters}).
    """

    tools: tuple[dict[str, Any], ...]
    named: str = ""  # this one and no other
    demanded: bool = False  # an answer without a call is not wanted
    parallel: bool = True  # more than one call at once
    legacy: bool = False  # the caller knows calls as `function_call`

    @property
    def callable(self) -> dict[str, dict[str, Any]]:
        """The tools that count, by name."""
        return {tool["name"]: tool for tool in self.tools if self.named in ("", tool["name"])}


def offer(body: dict[str, Any]) -> Offer:
    """What a validated body offers; no tools when the choice is none."""
    legacy = not body.get("tools")
    if legacy:
        tools = body.get("functions") or ()
        choice = body.get("function_call")
    else:
        tools = [tool["function"] for tool in body["tools"] if tool.get("function")]
        choice = body.get("tool_choice")
    if choice == "none":
        return Offer(())
    named = ""
    allowed = None
    if isinstance(choice, dict):
        named = str((choice.get("function") or choice).get("name") or "")
        if allowed := choice.get("allowed_tools"):
            choice = allowed.get("mode")
            names = {
                (tool.get("function") or {}).get("name") for tool in allowed.get("tools") or ()
            }
            tools = [tool for tool in tools if tool["name"] in names]
    demanded = bool(named) or choice == "required"
    parallel = body.get("parallel_tool_calls") is not False and not legacy
    return Offer(tuple(tools), named, demanded and bool(tools), parallel, legacy)


def demands_call(body: dict[str, Any]) -> bool:
    """Whether an answer without a call may not be wanted: the cheap test, for every request."""
    choice = body.get("tool_choice") or body.get("function_call")
    return choice is not None and choice != "auto" and choice != "none"


def instructions(offered: Offer) -> str:
    """The tools in full, and how they are called."""
    rules = [FORM, SEVERAL if offered.parallel and not offered.named else ONE]
    rules.append(MUST.format(what=demand(offered)) if offered.demanded else MAY)
    return "\n\n".join([HEAD, *map(described, offered.tools), "\n".join(rules)])


def described(tool: dict[str, Any]) -> str:
    """One tool, nothing of it left out."""
    schema = tool.get("parameters") or {"type": "object", "properties": {}}
    lines = [
        f"## {tool['name']}",
        tool.get("description") or "",
        f"Arguments: {orjson.dumps(schema).decode()}",
    ]
    return "\n".join(line for line in lines if line)


def demand(offered: Offer) -> str:
    return (
        f"the tool {offered.named!r} and no other" if offered.named else "at least one of the tools"
    )


def correction(offered: Offer) -> str:
    """What a model is told that called nothing although it had to."""
    name = orjson.dumps(offered.named).decode() if offered.named else "NAME"
    return CORRECTION.format(
        what=f"the tool {offered.named!r}" if offered.named else "one of the tools", name=name
    )


def call_line(name: str, arguments: str, call_id: str = "") -> str:
    """A call of the history in the canonical form; `arguments` is JSON text, and stays it when it
    is broken.
    """
    try:
        readable = isinstance(loads(arguments.encode()), dict)
    except ValueError:
        readable = False
    given = arguments.strip() if readable else orjson.dumps(arguments).decode()
    own_id = f', "id": {orjson.dumps(call_id).decode()}' if call_id else ""
    return (
        f'<tool_call>{{"name": {orjson.dumps(name).decode()}, "arguments": '
        f"{given}{own_id}}}</tool_call>"
    )


def result_head(name: str, call_id: str) -> str:
    """How the result of a call begins; RESULT_END ends it."""
    own_id = f' id="{call_id}"' if call_id else ""
    return f'<tool_result name="{name}"{own_id}>\n'


RESULT_END = "\n</tool_result>"
