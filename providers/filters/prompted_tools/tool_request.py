"""Rewrite a request for a model without tool calling: tools and past calls become words. No I/O.

The tools go in full into the first system message. Calls of
the history become text in the form that the model is told to use. Their results become user
messages with the tool's real name. Nothing is cut or lost, and the given body is not changed.
"""

from collections.abc import Iterable

from providers.filters.prompted_tools import tool_prompt
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import SYSTEM_ROLES, Content, join_contents, join_texts

Message = JsonObject
RESULT_ROLES = ("tool", "function")


def rewrite_tool_request(body: JsonObject) -> JsonObject:
    """Rewrite a body for a model that is told its tools in words.

    Of a body without messages (legacy completions) only the fields of tools are taken out.
    """
    new_body = {name: value for name, value in body.items() if name not in tool_prompt.TOOL_FIELDS}
    if "messages" not in body:
        return new_body
    messages = render_tool_history(body["messages"])
    offer = tool_prompt.read_tool_offer(body)
    if offer.tools:
        messages = insert_instructions(messages, tool_prompt.render_instructions(offer))
    return new_body | {"messages": messages}


def insert_instructions(messages: list[Message], instructions: str) -> list[Message]:
    """Add `instructions` to the end of the first system message, or as a new one in front."""
    for position, message in enumerate(messages):
        if message["role"] in SYSTEM_ROLES:
            content = join_contents([message.get("content") or "", instructions])
            return [*messages[:position], message | {"content": content}, *messages[position + 1 :]]
    return [{"role": "system", "content": instructions}, *messages]


def render_tool_history(messages: Iterable[Message]) -> list[Message]:
    """Put calls and results into words; results that follow each other become one message."""
    tool_names: dict[str, str] = {}  # by the id of the call
    rendered: list[Message] = []
    results: list[Content] = []
    for message in messages:
        if message["role"] in RESULT_ROLES:
            results.append(render_tool_result(message, tool_names))
            continue
        if results:
            rendered.append({"role": "user", "content": join_contents(results)})
            results = []
        if message["role"] == "assistant" and (
            message.get("tool_calls") or message.get("function_call")
        ):
            message = render_assistant_calls(message, tool_names)
        rendered.append(message)
    if results:
        rendered.append({"role": "user", "content": join_contents(results)})
    return rendered


def render_assistant_calls(message: Message, tool_names: dict[str, str]) -> Message:
    """Put an assistant's calls as text after its content, and their names into `tool_names`."""
    lines = []
    calls = list(message.get("tool_calls") or ())
    if message.get("function_call"):
        calls.append(message["function_call"])
    for call in calls:
        function = call.get("function") or call.get("custom") or call
        call_id = call.get("id") or ""
        name = function.get("name") or "unknown"
        tool_names[call_id] = name
        arguments = function.get("arguments", function.get("input"))
        lines.append(tool_prompt.render_call_line(name, arguments or "{}", call_id))
    other_fields = {
        field: value
        for field, value in message.items()
        if field not in ("tool_calls", "function_call")
    }
    content = join_contents([message.get("content") or "", "\n".join(lines)])
    return other_fields | {"content": content}


def render_tool_result(message: Message, tool_names: dict[str, str]) -> Content:
    """Put a tool's answer into words: text, or parts when there is more than text in it."""
    call_id = message.get("tool_call_id") or ""
    content = message.get("content") or ""
    name = tool_names.get(call_id) or message.get("name") or "unknown"
    head = tool_prompt.render_result_head(name, call_id)
    end = tool_prompt.RESULT_END
    if isinstance(content, str):
        return f"{head}{content}{end}"
    if all(part["type"] == "text" for part in content):
        return head + join_texts(content) + end
    return [{"type": "text", "text": head}, *content, {"type": "text", "text": end}]
