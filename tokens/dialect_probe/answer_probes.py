"""Find out how an upstream answers: tools, thinking, and what it takes of earlier turns."""

from providers.exceptions import Rejected
from providers.filters.thinking_parser import ThinkingParser
from providers.protocol.dialect import REASONING_FIELD
from providers.protocol.json_types import JsonObject
from tokens.dialect_probe.finding import Finding
from tokens.dialect_probe.prober import HI, Prober, is_about_limit, is_cut, read_message

TOOL_NAME = "report_ok"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": TOOL_NAME,
            "description": "Report that all is well.",
            "parameters": {"type": "object", "properties": {}},
        },
    }
]
FORCED = {"type": "function", "function": {"name": TOOL_NAME}}
CALL = {
    "id": "call000ok",  # nine letters and digits: Mistral takes no other ids
    "type": "function",
    "function": {"name": TOOL_NAME, "arguments": "{}"},
}
SIGNED_CALL = CALL | {"extra_content": {"probe": "1"}}
CUT_OFF = "not found out: the answer was cut off"
THINKING_PARTS = ("thinking", "reasoning")


# --- tools ----------------------------------------------------------------------------------------
async def probe_tools(prober: Prober) -> Finding:
    """Find out if the upstream makes tool calls itself."""
    try:
        answer = await prober.ask(tools=TOOLS, tool_choice=FORCED)
    except Rejected as error:
        if is_about_limit(error):
            return Finding("tools", CUT_OFF)
        return await probe_free_tools(prober)
    if read_message(answer).get("tool_calls"):
        return Finding("tools", "native")
    if is_cut(answer):
        return Finding("tools", CUT_OFF)
    return Finding("tools", "passed over: explained by a prompt", {"native_tools": False})


async def probe_free_tools(prober: Prober) -> Finding:
    """Find out if tools are taken where no call may be forced, as by some models that think."""
    try:
        answer = await prober.ask(tools=TOOLS)
    except Rejected as error:
        if is_about_limit(error):
            return Finding("tools", CUT_OFF)
        return Finding("tools", "refused: explained by a prompt", {"native_tools": False})
    if read_message(answer).get("tool_calls"):
        return Finding("tools", "native, but no call may be forced")
    return Finding("tools", "taken, but no call may be forced, and none was made")


async def probe_tool_turns(prober: Prober) -> Finding:
    """Find out what an earlier call must bring along: its thinking, or no field of others."""
    try:
        await ask_after_call(prober, SIGNED_CALL)
        return Finding("earlier calls", "taken with fields of other upstreams")
    except Rejected as error:
        if is_about_limit(error):
            return Finding("earlier calls", "taken with fields of other upstreams")
    try:
        await ask_after_call(prober, CALL)
    except Rejected as error:
        if "reason" not in error.message.lower() and "think" not in error.message.lower():
            return Finding("earlier calls", f"not found out: {error}")
        fields = {"needs_thinking": True, "thinking_field": REASONING_FIELD}
        return Finding("earlier calls", "must have their thinking", fields)
    fields = {"takes_call_extras": False}
    return Finding("earlier calls", "taken without fields of other upstreams", fields)


async def ask_after_call(prober: Prober, call: JsonObject) -> None:
    messages: list[JsonObject] = [
        HI,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "OK"},
    ]
    await prober.ask(messages, tools=TOOLS)


# --- thinking -------------------------------------------------------------------------------------
async def probe_thinking(prober: Prober) -> Finding:
    """Find out where the model's thinking comes, in the answer that is there already."""
    if not prober.first_answer:
        return Finding("thinking", "not shown")
    message = read_message(prober.first_answer)
    content = message.get("content")
    if isinstance(content, list) and any(part.get("type") in THINKING_PARTS for part in content):
        return Finding("thinking", "among the parts of the content")
    for name in ("reasoning", REASONING_FIELD):
        if message.get(name):
            return Finding("thinking", f"in {name}", {"thinking_field": name})
    if isinstance(content, str):
        thought, _ = ThinkingParser(is_implied=False).feed(content, is_last=True)
        if thought:
            return Finding("thinking", "in the text, in tags", {"thinking_format": "tagged"})
        if "</think>" in content:
            return Finding(
                "thinking", "in the text, without an opening tag", {"thinking_format": "implied"}
            )
    if not content:
        return Finding("thinking", "not shown")
    return Finding("thinking", "none seen")


async def probe_returned_thinking(prober: Prober) -> Finding:
    """Find out if the upstream takes a model's earlier thinking."""
    seen = (await probe_thinking(prober)).fields.get("thinking_field", REASONING_FIELD)
    earlier = {"role": "assistant", "content": "OK", seen: "They want an OK."}
    if await prober.is_taken([HI, earlier, HI]):
        return Finding("earlier thinking", f"taken as {seen}")
    return Finding("earlier thinking", "refused", {"thinking_field": ""})
