"""Moonshot's built-in web search: join several upstream answers into one for the caller. No I/O.

The model stops with a call of `$web_search`. It is called again with the call's own arguments as
the result, unchanged, until it gives an answer. The caller sees one answer without those calls.
Calls of the caller's own functions end the turn and are passed on. Source: Moonshot's API
documentation, "Use the web search built-in function".
"""

from functools import reduce
from typing import Any

from providers.protocol.chunks import Chunk
from providers.protocol.usage_meter import sum_usage

NAME = "$web_search"
TOOL = {"type": "builtin_function", "function": {"name": NAME}}
CUT = ("length", "content_filter")  # with these reasons an answer may have ended within a call


def offered(body: dict[str, Any]) -> bool:
    """Return whether the caller's own tools include the search.

    The caller then answers its calls.
    """
    return any((tool.get("function") or {}).get("name") == NAME for tool in body.get("tools") or ())


class Search:
    """The state of one caller's answer.

    For each upstream answer call `begin`, then `chunks` with each batch. `again` says that the
    model waits for the results in `turns`.
    """

    def __init__(self) -> None:
        self._usages: list[dict[str, Any] | None] = []
        self._spoken = False

    def begin(self) -> None:
        self.again = False
        self._calls: dict[int, dict[str, Any]] = {}  # calls of the search, by index
        self._arguments: dict[int, list[str]] = {}  # their arguments, in pieces
        self._others: dict[int, int] = {}  # calls of the caller's tools: upstream's index -> ours
        self._text: list[str] = []
        self._usages.append(None)

    def chunks(self, batch: list[Chunk]) -> list[Chunk]:
        """Return the chunks for the caller; usage is kept until the end."""
        kept = []
        for chunk in batch:
            self._usages[-1] = chunk.pop("usage", None) or self._usages[-1]
            chunk["choices"] = [choice for choice in chunk["choices"] if self._choice(choice)]
            if chunk["choices"]:
                kept.append(chunk)
        return kept

    def usage(self) -> dict[str, Any] | None:
        """Return the usage of all upstream answers together; None when one of them gave none."""
        known = [usage for usage in self._usages if usage is not None]
        is_complete = bool(known) and len(known) == len(self._usages)
        return reduce(sum_usage, known) if is_complete else None

    def turns(self) -> list[dict[str, Any]]:
        """Return the messages that answer the search: the model's, and each call's arguments."""
        calls = [
            call | {"function": {"name": NAME, "arguments": "".join(self._arguments[index])}}
            for index, call in self._calls.items()
        ]
        said = {"role": "assistant", "content": "".join(self._text), "tool_calls": calls}
        answers = [
            {
                "role": "tool",
                "tool_call_id": call["id"],
                "name": NAME,
                "content": call["function"]["arguments"],
            }
            for call in calls
        ]
        return [said, *answers]

    def _choice(self, choice: dict[str, Any]) -> bool:
        """Remove the search from one choice; return whether anything is left of it."""
        delta = choice["delta"]
        delta.pop("role", None)
        if said := delta.pop("content", None):
            self._text.append(said)
            delta["content"] = said
        if calls := self._callers(delta.pop("tool_calls", ())):
            delta["tool_calls"] = calls
        reason = choice["finish_reason"]
        if reason and reason not in CUT and self._calls and not self._others:
            self.again, choice["finish_reason"] = True, None
        if not delta and not choice["finish_reason"]:
            return False
        if not self._spoken:
            choice["delta"] = {"role": "assistant", "content": None} | delta
            self._spoken = True
        return True

    def _callers(self, parts: Any) -> list[dict[str, Any]]:
        """Return the parts of the caller's calls; collect the parts of search calls."""
        kept = []
        for part in parts:
            index = part["index"]
            function = part["function"]
            if index in self._calls:
                self._arguments[index].append(function.get("arguments") or "")
            elif function.get("name") == NAME:
                self._calls[index] = {"id": part["id"], "type": TOOL["type"]}
                self._arguments[index] = [function.get("arguments") or ""]
            else:
                kept.append(part | {"index": self._others.setdefault(index, len(self._others))})
        return kept
