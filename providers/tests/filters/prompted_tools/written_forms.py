"""Calls as the chat templates of the models write them."""

# ruff: noqa: RUF001 - the signs are those that models write

import json
from collections.abc import Callable
from typing import Any

JsonObject = dict[str, Any]
Writer = Callable[[str, JsonObject], str]


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def as_text(value: object) -> str:
    """A value between tags: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else as_json(value)


def kimi(name: str, arguments: JsonObject) -> str:
    return (
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.{name}:0"
        f"<|tool_call_argument_begin|>{as_json(arguments)}<|tool_call_end|>"
        "<|tool_calls_section_end|>"
    )


def kimi_glued(name: str, arguments: JsonObject) -> str:
    return kimi(name, arguments).replace("functions.", "functions").replace(":0<", "5<")


def kimi_in_hermes(name: str, arguments: JsonObject) -> str:
    return hermes(f"functions.{name}:0", arguments)


def deepseek_v3(name: str, arguments: JsonObject) -> str:
    return (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n"
        f"```json\n{as_json(arguments)}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    )


def deepseek_v31(name: str, arguments: JsonObject) -> str:
    return (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{as_json(arguments)}"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    )


def deepseek_dsml(name: str, arguments: JsonObject, wrapper: str = "function_calls") -> str:
    lines = [f"<｜DSML｜{wrapper}>", f'<｜DSML｜invoke name="{name}">']
    for key, value in arguments.items():
        is_text = str(isinstance(value, str)).lower()
        tag = f'<｜DSML｜parameter name="{key}" string="{is_text}">'
        lines.append(f"{tag}{as_text(value)}</｜DSML｜parameter>")
    return "\n".join([*lines, "</｜DSML｜invoke>", f"</｜DSML｜{wrapper}>"])


def deepseek_v4(name: str, arguments: JsonObject) -> str:
    return deepseek_dsml(name, arguments, "tool_calls")


def qwen_coder(name: str, arguments: JsonObject) -> str:
    parameters = "".join(
        f"<parameter={key}>\n{as_text(value)}\n</parameter>\n" for key, value in arguments.items()
    )
    return f"<tool_call>\n<function={name}>\n{parameters}</function>\n</tool_call>"


def glm(name: str, arguments: JsonObject) -> str:
    pairs = "".join(
        f"<arg_key>{key}</arg_key>\n<arg_value>{as_text(value)}</arg_value>\n"
        for key, value in arguments.items()
    )
    return f"<tool_call>{name}\n{pairs}</tool_call>"


def minimax(name: str, arguments: JsonObject) -> str:
    parameters = "".join(
        f'<parameter name="{key}">{as_text(value)}</parameter>\n'
        for key, value in arguments.items()
    )
    return (
        f'<minimax:tool_call>\n<invoke name="{name}">\n{parameters}</invoke>\n</minimax:tool_call>'
    )


def mistral_list(name: str, arguments: JsonObject) -> str:
    call = {"name": name, "arguments": arguments, "id": "abcDEF123"}
    return f"[TOOL_CALLS][{as_json(call)}]"


def mistral_args(name: str, arguments: JsonObject) -> str:
    return f"[TOOL_CALLS]{name}[ARGS]{as_json(arguments)}"


def mistral_id(name: str, arguments: JsonObject) -> str:
    return f"[TOOL_CALLS]{name}[CALL_ID]abcDEF123[ARGS]{as_json(arguments)}"


def llama_python_tag(name: str, arguments: JsonObject) -> str:
    call = {"type": "function", "name": name, "parameters": arguments}
    return f"<|python_tag|>{as_json(call)}<|eom_id|>"


def llama_function(name: str, arguments: JsonObject) -> str:
    return f"<function={name}>{as_json(arguments)}</function>"


def llama_python(name: str, arguments: JsonObject) -> str:
    keywords = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return f"[{name}({keywords})]"


def llama_4(name: str, arguments: JsonObject) -> str:
    return f"<|python_start|>{llama_python(name, arguments)}<|python_end|>"


def harmony(name: str, arguments: JsonObject) -> str:
    return (
        f"<|channel|>commentary to=functions.{name} <|constrain|>json"
        f"<|message|>{as_json(arguments)}<|call|>"
    )


def harmony_role(name: str, arguments: JsonObject) -> str:
    return (
        f"<|start|>assistant to=functions.{name}<|channel|>commentary json"
        f"<|message|>{as_json(arguments)}<|call|>"
    )


def harmony_start(name: str, arguments: JsonObject) -> str:
    return (
        f"<|start|>assistant<|channel|>commentary to=functions.{name} <|constrain|>json"
        f"<|message|>{as_json(arguments)}<|call|>"
    )


def cohere(name: str, arguments: JsonObject) -> str:
    call = {"tool_call_id": "0", "tool_name": name, "parameters": arguments}
    return f"<|START_ACTION|>[\n    {as_json(call)}\n]<|END_ACTION|>"


def cohere_action(name: str, arguments: JsonObject) -> str:
    calls = json.dumps([{"tool_name": name, "parameters": arguments}], indent=4)
    return f"Action: ```json\n{calls}```"


def granite(name: str, arguments: JsonObject) -> str:
    return f"<|tool_call|>[{as_json({'name': name, 'arguments': arguments})}]"


def granite_31(name: str, arguments: JsonObject) -> str:
    return f"<tool_call>[{as_json({'arguments': arguments, 'name': name})}]"


def granite_20b(name: str, arguments: JsonObject) -> str:
    return f"<function_call> {as_json({'name': name, 'arguments': arguments})}"


def internlm(name: str, arguments: JsonObject) -> str:
    call = as_json({"name": name, "parameters": arguments})
    return f"<|action_start|><|plugin|>\n{call}<|action_end|>"


def phi(name: str, arguments: JsonObject) -> str:
    return f"{granite(name, arguments)}<|/tool_call|>"


def phi_functools(name: str, arguments: JsonObject) -> str:
    return f"functools[{as_json({'name': name, 'arguments': arguments})}]"


MINIMAX_MARK = "]<]minimax[>["


def write_minimax_value(value: object) -> str:
    """A value between MiniMax M3's tags: members and items in tags of their own."""
    if isinstance(value, dict):
        return "".join(write_minimax_tag(key, member) for key, member in value.items())
    if isinstance(value, list):
        return "".join(write_minimax_tag("item", item) for item in value)
    return as_text(value)


def write_minimax_tag(name: str, value: object) -> str:
    return f"{MINIMAX_MARK}<{name}>{write_minimax_value(value)}{MINIMAX_MARK}</{name}>"


def minimax_m3(name: str, arguments: JsonObject) -> str:
    return (
        f'{MINIMAX_MARK}<tool_call>\n{MINIMAX_MARK}<invoke name="{name}">'
        f"{write_minimax_value(arguments)}{MINIMAX_MARK}</invoke>\n{MINIMAX_MARK}</tool_call>"
    )


def hermes(name: str, arguments: JsonObject) -> str:
    return f"<tool_call>\n{as_json({'name': name, 'arguments': arguments})}\n</tool_call>"


def fenced(name: str, arguments: JsonObject) -> str:
    return f"```json\n{as_json({'name': name, 'arguments': arguments})}\n```"


def fenced_list(name: str, arguments: JsonObject) -> str:
    return f"```json\n[{as_json({'name': name, 'arguments': arguments})}]\n```"


def inline(name: str, arguments: JsonObject) -> str:
    return as_json({"name": name, "arguments": arguments})


UNMISTAKABLE: tuple[Writer, ...] = (
    kimi,
    kimi_glued,
    kimi_in_hermes,
    deepseek_v3,
    deepseek_v31,
    deepseek_dsml,
    deepseek_v4,
    qwen_coder,
    glm,
    minimax,
    mistral_list,
    mistral_args,
    mistral_id,
    llama_python_tag,
    llama_function,
    llama_4,
    harmony,
    harmony_role,
    harmony_start,
    hermes,
    cohere,
    granite,
    granite_31,
    granite_20b,
    internlm,
    phi,
    phi_functools,
    minimax_m3,
)
WRITERS: tuple[Writer, ...] = (
    *UNMISTAKABLE,
    cohere_action,
    llama_python,
    fenced,
    fenced_list,
    inline,
)
