"""The names under which a chat upstream knows the tools of a request.

Chat upstreams know functions with plain names. In the Responses API a tool may also belong to a
namespace or take free text (a custom tool). Such a tool gets a name of its own that no other tool
of the request has. When the model calls it, the name leads back to the tool. Source: OpenAI's API
reference, "Create a response", `tools`.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

LONGEST_NAME = 64  # characters of a function's name that OpenAI accepts
DIGEST_CHARS = 8
FORBIDDEN_CHARACTERS = re.compile(r"[^a-zA-Z0-9_-]")


class CalledTool(NamedTuple):
    """One tool that a model can call; `kind` is function or custom."""

    kind: str
    name: str
    namespace: str = ""


class ToolNames:
    """The chat names of a request's tools, and the way back.

    With `keeps_custom_calls` a custom call goes up in the chat form of its own. Otherwise it goes
    up as the call of a function with the argument `input`.
    """

    __slots__ = ("_chat_names", "_tools", "keeps_custom_calls")

    def __init__(
        self, tools: Iterable[CalledTool] = (), *, keeps_custom_calls: bool = True
    ) -> None:
        self.keeps_custom_calls = keeps_custom_calls
        self._chat_names: dict[CalledTool, str] = {}
        self._tools: dict[str, CalledTool] = {}
        # Functions without a namespace come first, because their names cannot be changed.
        for tool in sorted(tools, key=is_renamed):
            self._add_tool(tool)

    def _add_tool(self, tool: CalledTool) -> None:
        if tool in self._chat_names:
            return
        preferred = make_chat_name(tool)
        chat_name = preferred
        number = 1
        while chat_name in self._tools:
            number += 1
            ending = f"_{number}"
            chat_name = preferred[: LONGEST_NAME - len(ending)] + ending
        self._chat_names[tool] = chat_name
        self._tools[chat_name] = tool

    def find_chat_name(self, tool: CalledTool) -> str:
        """Return the chat name of a tool, also of one that is no longer offered."""
        return self._chat_names.get(tool) or make_chat_name(tool)

    def find_tool(self, chat_name: str) -> CalledTool:
        """Return the tool that a model means by this name; an unknown name is a function's."""
        return self._tools.get(chat_name) or CalledTool("function", chat_name)


def is_renamed(tool: CalledTool) -> bool:
    """Return whether the chat name of a tool may differ from its own."""
    return tool.kind != "function" or bool(tool.namespace)


def make_chat_name(tool: CalledTool) -> str:
    """Return the name of a tool in a chat body, as long as no other tool has the same.

    A long name is cut, and ends with a digest of the whole.
    """
    if not is_renamed(tool):
        return tool.name
    whole_name = tool.name
    if tool.namespace:
        whole_name = f"{tool.namespace.rstrip('_')}__{tool.name}"
    chat_name = FORBIDDEN_CHARACTERS.sub("_", whole_name)
    if len(chat_name) <= LONGEST_NAME:
        return chat_name
    digest = sha256(whole_name.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARS]
    return f"{chat_name[: LONGEST_NAME - DIGEST_CHARS - 1]}_{digest}"
