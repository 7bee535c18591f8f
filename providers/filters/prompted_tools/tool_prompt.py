"""Describe tools in words, for a model without tool calling of its own. No I/O.

These are the tools that a caller offers, and the sentences and the form of a call that the prompt
uses. The canonical form of a call, in prompts and in the history alike, is one line
`<tool_call>{"name": NAME, "arguments": {…}}</tool_call>`: models of the Hermes and Qwen families
were trained on it. Shapes of `tools` and `tool_choice`: OpenAI's API reference, "Chat completions";
`functions` and `function_call` are their older names.
"""

from dataclasses import dataclass

import orjson

from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.wire.json_reader import read_json

TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call")

PROMPT_HEAD = """# Tools

You can call the tools below. Each one is given with its name, what it does, and the JSON Schema \
of its arguments."""
CALL_INSTRUCTIONS = """## How to call a tool

Write each call on a line of its own, in exactly this form and with nothing else on the line:

<tool_call>{"name": "NAME", "arguments": {"PARAMETER": VALUE}}</tool_call>

- NAME is the name of one of the tools above, letter for letter.
- "arguments" is one valid JSON object. Its keys are the exact parameter names of the schema, with \
all that are required and none that the schema does not have; {} when there is nothing to give.
- Put no code fence around a call, and do not describe calls in other words.
- After your calls stop writing: the results come in the next message, each in a <tool_result> \
block with the name of its tool. Never write such a block yourself."""
OPTIONAL_CALL_RULE = "- When no tool is needed, answer as usual and write no such line."
PARALLEL_CALLS_RULE = "- Several calls may be made at once, one per line."
SINGLE_CALL_RULE = "- Make at most one call per answer."
REQUIRED_CALL_RULE = (
    "- You must call {what} now: your answer has to contain the call, in the form above."
)
CORRECTION_TEMPLATE = (
    "Your last answer called no tool, but {what} must be called now. Answer again with the call "
    "alone, in exactly "
    'this form: <tool_call>{{"name": {name}, "arguments": {{…}}}}</tool_call>'
)
RESULT_END = "\n</tool_result>"


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """The tools that may be called in one answer.

    `tools` are function objects ({name, description, parameters}).
    """

    tools: tuple[JsonObject, ...]
    only_tool_name: str = ""  # the only tool that may be called; empty for any
    requires_call: bool = False  # the answer must contain a call
    is_parallel: bool = True  # several calls at once are allowed
    is_legacy: bool = False  # the caller uses the older `function_call`

    @property
    def callable_tools(self) -> dict[str, JsonObject]:
        """Return the tools that may be called, by name."""
        return {
            tool["name"]: tool for tool in self.tools if self.only_tool_name in ("", tool["name"])
        }


def read_tool_offer(body: FrozenJsonObject) -> ToolOffer:
    """Return the offer of a validated body; it has no tools if the tool choice is "none"."""
    is_legacy = not body.get("tools")
    if is_legacy:
        tools = list(body.get("functions") or ())
        choice = body.get("function_call")
    else:
        tools = [tool["function"] for tool in body["tools"] if tool.get("function")]
        choice = body.get("tool_choice")
    if choice == "none":
        return ToolOffer(())
    only_tool_name = ""
    if isinstance(choice, dict):
        only_tool_name = str((choice.get("function") or choice).get("name") or "")
        if allowed := choice.get("allowed_tools"):
            choice = allowed.get("mode")
            tools = select_allowed_tools(tools, allowed)
    is_required = bool(only_tool_name) or choice == "required"
    return ToolOffer(
        tuple(tools),
        only_tool_name=only_tool_name,
        requires_call=is_required and bool(tools),
        is_parallel=not is_legacy and body.get("parallel_tool_calls") is not False,
        is_legacy=is_legacy,
    )


def select_allowed_tools(tools: list[JsonObject], allowed: JsonObject) -> list[JsonObject]:
    """Return the tools that an `allowed_tools` choice names."""
    names = {(tool.get("function") or {}).get("name") for tool in allowed.get("tools") or ()}
    return [tool for tool in tools if tool["name"] in names]


def may_require_call(body: FrozenJsonObject) -> bool:
    """Return whether the answer may have to contain a call.

    This is a cheap test for every request; `read_tool_offer` gives the exact answer.
    """
    choice = body.get("tool_choice") or body.get("function_call")
    return choice is not None and choice != "auto" and choice != "none"


def render_instructions(tool_offer: ToolOffer) -> str:
    """Return the prompt text: the tools in full, and how to call them."""
    count_rule = SINGLE_CALL_RULE
    if tool_offer.is_parallel and not tool_offer.only_tool_name:
        count_rule = PARALLEL_CALLS_RULE
    need_rule = OPTIONAL_CALL_RULE
    if tool_offer.requires_call:
        need_rule = REQUIRED_CALL_RULE.format(what=describe_required_tool(tool_offer))
    rules = f"{CALL_INSTRUCTIONS}\n{count_rule}\n{need_rule}"
    return "\n\n".join([PROMPT_HEAD, *map(describe_tool, tool_offer.tools), rules])


def describe_tool(tool: JsonObject) -> str:
    """Return the description of one tool, in full."""
    schema = tool.get("parameters") or {"type": "object", "properties": {}}
    lines = [
        f"## {tool['name']}",
        tool.get("description") or "",
        f"Arguments: {orjson.dumps(schema).decode()}",
    ]
    return "\n".join(line for line in lines if line)


def describe_required_tool(tool_offer: ToolOffer) -> str:
    """Return which tool must be called, in words."""
    if tool_offer.only_tool_name:
        return f"the tool {tool_offer.only_tool_name!r} and no other"
    return "at least one of the tools"


def render_correction(tool_offer: ToolOffer) -> str:
    """Return the message for a model that made no call although it had to."""
    tool_name = tool_offer.only_tool_name
    if not tool_name:
        return CORRECTION_TEMPLATE.format(what="one of the tools", name="NAME")
    quoted_name = orjson.dumps(tool_name).decode()
    return CORRECTION_TEMPLATE.format(what=f"the tool {tool_name!r}", name=quoted_name)


def render_call_line(name: str, arguments: str, call_id: str = "") -> str:
    """Return a call of the history in the canonical form.

    `arguments` is JSON text; broken JSON is kept as a string.
    """
    arguments_json = arguments.strip()
    if not is_json_object(arguments):
        arguments_json = orjson.dumps(arguments).decode()
    members = f'"name": {orjson.dumps(name).decode()}, "arguments": {arguments_json}'
    if call_id:
        members += f', "id": {orjson.dumps(call_id).decode()}'
    return f"<tool_call>{{{members}}}</tool_call>"


def is_json_object(text: str) -> bool:
    """Return whether a text is the JSON of an object."""
    try:
        return isinstance(read_json(text.encode()), dict)
    except ValueError:
        return False


def render_result_head(name: str, call_id: str) -> str:
    """Return the beginning of the result of a call; RESULT_END ends it."""
    id_attribute = f' id="{call_id}"' if call_id else ""
    return f'<tool_result name="{name}"{id_attribute}>\n'
