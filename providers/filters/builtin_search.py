"""Moonshot's built-in web search: join several upstream answers into one for the caller. No I/O.

The model stops with a call of `$web_search`. It is called again with the call's own arguments as
the result, unchanged, until it gives an answer. The caller sees one answer without those calls.
Calls of the caller's own functions end the turn and are passed on. Source: Moonshot's API
documentation, "Use the web search built-in function".
"""

from collections.abc import Iterable
from functools import reduce

from providers.protocol.chunks import Chunk
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.usage_meter import sum_usage

SEARCH_TOOL_NAME = "$web_search"
SEARCH_TOOL = {"type": "builtin_function", "function": {"name": SEARCH_TOOL_NAME}}
# with these reasons an answer may have ended within a call
TRUNCATING_REASONS = ("length", "content_filter")


def has_search_tool(body: FrozenJsonObject) -> bool:
    """Return whether the caller's own tools include the search.

    The caller then answers its calls.
    """
    return any(
        (tool.get("function") or {}).get("name") == SEARCH_TOOL_NAME
        for tool in body.get("tools") or ()
    )


class BuiltinSearch:
    """The state of one caller's answer.

    For each upstream answer call `begin_round`, then `filter_chunks` with each batch.
    `wants_results` says that the model waits for the results in `build_result_messages`.
    """

    def __init__(self) -> None:
        self._usages: list[JsonObject | None] = []
        self._has_sent_role = False

    def begin_round(self) -> None:
        """Begin to read the next upstream answer."""
        self.wants_results = False
        self._search_calls: dict[int, JsonObject] = {}  # calls of the search, by index
        self._search_arguments: dict[int, list[str]] = {}  # their arguments, in pieces
        # calls of the caller's tools: upstream's index -> ours
        self._caller_indexes: dict[int, int] = {}
        self._text_pieces: list[str] = []
        self._usages.append(None)

    def filter_chunks(self, batch: list[Chunk]) -> list[Chunk]:
        """Return the chunks for the caller; usage is kept until the end."""
        passed_chunks = []
        for chunk in batch:
            self._usages[-1] = chunk.pop("usage", None) or self._usages[-1]
            chunk["choices"] = [
                choice for choice in chunk["choices"] if self._remove_search_calls(choice)
            ]
            if chunk["choices"]:
                passed_chunks.append(chunk)
        return passed_chunks

    def total_usage(self) -> JsonObject | None:
        """Return the usage of all upstream answers together; None when one of them gave none."""
        if not self._usages or None in self._usages:
            return None
        return reduce(sum_usage, self._usages)

    def build_result_messages(self) -> list[JsonObject]:
        """Return the messages that answer the search: the model's, and each call's arguments."""
        calls: list[JsonObject] = []
        results: list[JsonObject] = []
        for index, call in self._search_calls.items():
            arguments = "".join(self._search_arguments[index])
            function = {"name": SEARCH_TOOL_NAME, "arguments": arguments}
            calls.append(call | {"function": function})
            results.append(
                {
                    "role": "tool",
                    "tool_call_id": call["id"],
                    "name": SEARCH_TOOL_NAME,
                    "content": arguments,
                }
            )
        text = "".join(self._text_pieces)
        return [{"role": "assistant", "content": text, "tool_calls": calls}, *results]

    def _remove_search_calls(self, choice: JsonObject) -> bool:
        """Remove the search from one choice; return whether anything is left of it."""
        delta = choice["delta"]
        delta.pop("role", None)
        if text := delta.pop("content", None):
            self._text_pieces.append(text)
            delta["content"] = text
        if calls := self._separate_call_parts(delta.pop("tool_calls", ())):
            delta["tool_calls"] = calls
        if self._ends_with_search(choice["finish_reason"]):
            self.wants_results = True
            choice["finish_reason"] = None
        if not delta and not choice["finish_reason"]:
            return False
        if not self._has_sent_role:
            choice["delta"] = {"role": "assistant", "content": None} | delta
            self._has_sent_role = True
        return True

    def _ends_with_search(self, reason: str | None) -> bool:
        """Return whether an answer with this finish reason waits for search results alone."""
        if not reason or reason in TRUNCATING_REASONS:
            return False
        return bool(self._search_calls) and not self._caller_indexes

    def _separate_call_parts(self, parts: Iterable[JsonObject]) -> list[JsonObject]:
        """Return the parts of the caller's calls; collect the parts of search calls."""
        caller_parts = []
        for part in parts:
            index = part["index"]
            function = part.get("function") or {}
            if index in self._search_calls:
                self._search_arguments[index].append(function.get("arguments") or "")
            elif function.get("name") == SEARCH_TOOL_NAME:
                self._search_calls[index] = {"id": part["id"], "type": SEARCH_TOOL["type"]}
                self._search_arguments[index] = [function.get("arguments") or ""]
            else:
                own_index = self._caller_indexes.setdefault(index, len(self._caller_indexes))
                caller_parts.append(part | {"index": own_index})
        return caller_parts
