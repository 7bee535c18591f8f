"""Read tool calls that a model wrote as Python, such as `[name(key=value), …]`. No I/O.

Nothing is run: the text is parsed, and only calls with constant keyword arguments are read. Source:
the prompt formats that Meta publishes for Llama 3.2 and 4.
"""

import ast

MOST_CHARS = 65_536  # a longer text is not parsed
JSON_CONSTANTS = {"true": True, "false": False, "null": None}
# the method by which Llama 3.1 calls its built-in tools: brave_search.call(query="…")
CALL_METHOD = ".call"


def parse_python_calls(text: str) -> list[tuple[str, dict[str, object]]]:
    """Return name and arguments of the calls, none if the text is anything but calls."""
    if len(text) > MOST_CHARS:
        return []
    try:
        expression = ast.parse(text.strip(), mode="eval").body
        nodes = [expression]
        if isinstance(expression, ast.List | ast.Tuple):
            nodes = expression.elts
        return [read_call(node) for node in nodes]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def read_call(node: ast.expr) -> tuple[str, dict[str, object]]:
    """Return name and arguments of one call. Raises ValueError if it is none."""
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("no call with keywords")
    name = ast.unparse(node.func).removesuffix(CALL_METHOD)
    arguments: dict[str, object] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError("no name of an argument")
        arguments[keyword.arg] = read_constant(keyword.value)
    return name, arguments


def read_constant(node: ast.expr) -> object:
    """Return the value of a constant expression. Raises ValueError if it is none."""
    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None as value):
            return value
        case ast.Name(id=name) if name in JSON_CONSTANTS:
            return JSON_CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [read_constant(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {
                read_key(key): read_constant(value) for key, value in zip(keys, values, strict=True)
            }
    raise ValueError("no constant")


def read_key(node: ast.expr | None) -> str:
    """Return the key of a dictionary's item. Raises ValueError if it is no text."""
    key = read_constant(node) if node is not None else None
    if not isinstance(key, str):
        raise ValueError("no key")
    return key
