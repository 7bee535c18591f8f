"""The messages of a Messages body as chat messages.

Results of calls become messages of the role `tool`, right behind their calls; the user's texts
beside them follow. Images among results follow too, because a tool's message holds only text.
"""

from collections.abc import Iterator

from api.messages.field_names import ChatPlace
from api.messages.request.answer_turns import AnswerTurn
from api.messages.request.block_parts import (
    MARK,
    list_parts,
    make_text_part,
    simplify_parts,
)
from providers.protocol.json_types import JsonObject

BILLING_PREFIX = "x-anthropic-billing-header:"
ERROR_PREFIX = "Error: "
PlacedMessage = tuple[JsonObject, ChatPlace]


class ChatTurns:
    """The chat messages so far, with their places in the Messages body."""

    def __init__(self) -> None:
        self.messages: list[JsonObject] = []
        self.places: list[ChatPlace] = []
        self._waiting: list[PlacedMessage] = []  # messages between calls and their results
        self._open_calls: set[str] = set()

    def add_system(self, system: str | list[JsonObject] | None, path: str) -> None:
        """Add instructions.

        Claude Code's line about billing is left out: it changes with each request, and so would
        spoil the prompt caches of other upstreams.
        """
        if not system:
            return
        if isinstance(system, str):
            self._add({"role": "system", "content": system}, ChatPlace(path))
            return
        parts: list[JsonObject] = []
        blocks: list[int] = []
        for index, block in enumerate(system):
            if not block["text"].startswith(BILLING_PREFIX):
                parts += list_parts(block)
                blocks += [index] * (len(parts) - len(blocks))
        if parts:
            message = {"role": "system", "content": simplify_parts(parts)}
            self._add(message, ChatPlace(path, blocks))

    def add_answer(self, message: JsonObject, path: str) -> None:
        """Add a message of the model; several in a row become one."""
        last = self.messages[-1] if self.messages else None
        turn = AnswerTurn()
        turn.add_content(message["content"])
        answer = turn.build_message()
        if last is not None and last["role"] == "assistant":
            self.messages[-1] = join_answers(last, answer)
        else:
            self._add(answer, ChatPlace(path))
        self._open_calls |= {call["id"] for call in answer.get("tool_calls") or ()}

    def add_user(self, message: JsonObject, path: str) -> None:
        """Add a message of the user, and the results of calls in it."""
        content = message["content"]
        if isinstance(content, str):
            self._add({"role": "user", "content": content}, ChatPlace(path))
            return
        parts: list[JsonObject] = []
        blocks: list[int] = []
        for index, block in enumerate(content):
            if block["type"] == "tool_result":
                parts += self._add_result(block, ChatPlace(f"{path}.content[{index}]"))
            else:
                parts += list_parts(block)
            blocks += [index] * (len(parts) - len(blocks))
        if parts or not any(block["type"] == "tool_result" for block in content):
            user = {"role": "user", "content": simplify_parts(parts)}
            self._add(user, ChatPlace(path, blocks))

    def close(self) -> None:
        """Add the messages that still wait for results."""
        for message, place in self._waiting:
            self.messages.append(message)
            self.places.append(place)
        self._waiting = []

    def _add(self, message: JsonObject, place: ChatPlace) -> None:
        """Add a message; while calls have no results it waits behind these."""
        if self._open_calls:
            self._waiting.append((message, place))
            return
        self.messages.append(message)
        self.places.append(place)

    def _add_result(self, block: JsonObject, place: ChatPlace) -> list[JsonObject]:
        """Add the result of a call, and return the parts that cannot stand in it."""
        call_id = block["tool_use_id"]
        text_parts, other_parts = split_result(block)
        if block.get(MARK):
            text_parts = [*text_parts[:-1], text_parts[-1] | {MARK: block[MARK]}]
        content = simplify_parts(text_parts)
        message = {"role": "tool", "tool_call_id": call_id, "content": content}
        self.messages.append(message)
        self.places.append(place)
        self._open_calls.discard(call_id)
        if not self._open_calls:
            self.close()
        if not other_parts:
            return []
        return [make_text_part(f"[Content of the result of the call {call_id}]"), *other_parts]


def split_result(block: JsonObject) -> tuple[list[JsonObject], list[JsonObject]]:
    """Return the texts of a result as parts, at least one, and its other parts."""
    content = block.get("content") or ""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    parts = [part for inner in blocks for part in list_parts(inner)]
    texts = [part for part in parts if part["type"] == "text"]
    others = [part for part in parts if part["type"] != "text"]
    if not texts:
        texts = [make_text_part("[See the next message.]" if others else "")]
    if block.get("is_error"):
        texts[0] = texts[0] | {"text": ERROR_PREFIX + texts[0]["text"]}
    return texts, others


def join_answers(first: JsonObject, second: JsonObject) -> JsonObject:
    """Return one message of the model that says what both say."""
    joined = first | {name: value for name, value in second.items() if value is not None}
    for name in ("content", "reasoning_content"):
        texts = [message[name] for message in (first, second) if message.get(name)]
        if len(texts) == 2 and all(isinstance(text, str) for text in texts):
            joined[name] = "\n\n".join(texts)
        elif len(texts) == 2:
            joined[name] = [part for text in texts for part in iterate_parts(text)]
    for name in ("tool_calls", "reasoning_details"):
        if first.get(name) and second.get(name):
            joined[name] = [*first[name], *second[name]]
    return joined


def iterate_parts(content: str | list[JsonObject]) -> Iterator[JsonObject]:
    """Yield the parts of a content, a text as one part."""
    if isinstance(content, str):
        yield make_text_part(content)
    else:
        yield from content


def build_chat_turns(body: JsonObject) -> ChatTurns:
    """Return the chat messages of a validated body."""
    turns = ChatTurns()
    turns.add_system(body.get("system"), "system")
    for position, message in enumerate(body["messages"]):
        path = f"messages[{position}]"
        if message["role"] == "assistant":
            turns.add_answer(message, path)
        elif message["role"] == "user":
            turns.add_user(message, path)
        else:
            turns.add_system(message["content"], path)
    turns.close()
    return turns
