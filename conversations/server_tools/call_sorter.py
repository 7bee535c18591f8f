"""Divide the calls in an answer: the gateway runs some, the caller gets the others. No I/O.

The name of a call may come in pieces, so that a call waits until its arguments begin, or until
another call or the end follows.
"""

from collections.abc import Callable, Iterable

from providers.protocol.json_types import JsonObject


class CallSorter:
    """The calls of one upstream answer; `is_server_call` says by its name who runs a call."""

    def __init__(self, is_server_call: Callable[[str], bool]) -> None:
        self._is_server_call = is_server_call
        self._waiting: dict[int, list[JsonObject]] = {}  # parts of calls that are not decided yet
        self._server_indexes: set[int] = set()
        self._caller_indexes: dict[int, int] = {}  # upstream's index -> ours

    @property
    def has_caller_calls(self) -> bool:
        return bool(self._caller_indexes)

    def sort_parts(self, parts: Iterable[JsonObject]) -> list[JsonObject]:
        """Return those parts of `tool_calls` that the caller gets now."""
        caller_parts: list[JsonObject] = []
        for place, part in enumerate(parts):
            index = part.get("index", place)
            if index in self._server_indexes:
                continue
            if index in self._caller_indexes:
                caller_parts.append(part | {"index": self._caller_indexes[index]})
                continue
            for other in [waiting for waiting in self._waiting if waiting != index]:
                caller_parts += self._decide(other)
            self._waiting.setdefault(index, []).append(part)
            if has_content(part):
                caller_parts += self._decide(index)
        return caller_parts

    def finish(self) -> list[JsonObject]:
        """Return the parts that still wait, at the end of the answer, and that the caller gets."""
        return [part for index in list(self._waiting) for part in self._decide(index)]

    def _decide(self, index: int) -> list[JsonObject]:
        """Decide who runs a call; return its parts if the caller does."""
        parts = self._waiting.pop(index)
        functions = [part.get("function") for part in parts]
        name = "".join(function.get("name") or "" for function in functions if function)
        if any(functions) and self._is_server_call(name):
            self._server_indexes.add(index)
            return []
        own_index = self._caller_indexes.setdefault(index, len(self._caller_indexes))
        return [part | {"index": own_index} for part in parts]


def has_content(part: JsonObject) -> bool:
    """Return whether a part has arguments, or is of another kind of call than a function."""
    function = part.get("function")
    if not isinstance(function, dict):
        return "custom" in part
    return bool(function.get("arguments"))
