"""Moonshot's built-in web search, answered here: what of several upstream answers the caller gets.
No I/O.

The model stops with a call of `$web_search`; it is answered with the call's own arguments,
unchanged, and asked again, until it speaks. The caller sees one answer without those calls. Calls
of his own functions end the turn and are his. Source: Moonshot's API documentation, "Use the web
search built-in function".
"""

from functools import reduce
from typing import Any

from providers.filters.moonshot_usage import sum_usage
from providers.protocol.chat import Chunk

NAME = "$web_search"
TOOL = {"type": "builtin_function", "function": {"name": NAME}}
CUT = ("length", "content_filter")  # an answer that ends so may have ended within a call


def offered(body: dict[str, Any]) -> bool:
    """Whether the caller's own tools have it: then he answers its calls himself."""
    return any((tool.get("function") or {}).get("name") == NAME for tool in body.get("tools") or ())


class Search:
    """One caller's answer. Per upstream answer: `begin`, then `chunks` of each batch; `again` says
    that the model waits for the results in `turns`.
    """

    def __init__(self) -> None:
        self._usages: list[dict[str, Any] | None] = []
        self._spoken = False

    def begin(self) -> None:
        self.again = False
        self._calls: dict[int, dict[str, Any]] = {}  # of the search, by their index
        self._arguments: dict[int, list[str]] = {}  # theirs, in the pieces that came
        self._others: dict[int, int] = {}  # the caller's: index there -> index here
        self._text: list[str] = []
        self._usages.append(None)

    def chunks(self, batch: list[Chunk]) -> list[Chunk]:
        """What goes on to the caller; usage is kept until the end."""
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
        """The messages that answer the search: what the model said, and each call's arguments."""
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
        """Take the search out of one choice; whether anything is left of it."""
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
        """The parts of calls that are the caller's; those of the search are put together here."""
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
