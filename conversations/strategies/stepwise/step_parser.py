"""Read the steps that a model writes. No I/O.

A step is one JSON object {"title", "content", "next_action": "continue" | "final_answer"}. The
parser also reads steps in fences or in prose, with stray commas, with line breaks in strings, and
steps that are cut in the middle, because models write all these.
"""

import json
from string import ascii_letters

from msgspec import Struct

from conversations.strategies.stepwise.cut_json import DECODER, read_cut_object
from providers.protocol.json_types import JsonObject
from providers.wire.json_reader import MOST_NESTING_LEVELS, is_deeper_than, repair_surrogates

THOUGHT_END = "</think>"
FENCE = "```"
STEP_CHARS = 65_536  # of an answer, after its thinking, that are parsed
MAX_OBJECT_STARTS = 50  # places where an object may begin
TITLE_LENGTH = 200


class Step(Struct, frozen=True):
    title: str
    content: str
    is_final: bool = False  # the model is ready to answer
    seconds: float = 0.0
    has_failed: bool = False

    def as_json(self) -> str:
        """Return the step as the model wrote it, for its next call."""
        action = "final_answer" if self.is_final else "continue"
        step = {"title": self.title, "content": self.content, "next_action": action}
        return json.dumps(step, ensure_ascii=False)

    def as_dict(self) -> JsonObject:
        """Return the step as an entry of the answer's `steps`."""
        return {"title": self.title, "content": self.content, "seconds": round(self.seconds, 3)}


def parse_step(text: str) -> Step | None:
    """Return the step in a model's answer, repaired where possible; None when there is none."""
    bare = strip_fence(text)[:STEP_CHARS]
    is_object = bare.startswith("{")  # then THOUGHT_END may be part of the step's text
    if is_object and (step := read_step(decode_json_text(bare))):
        return step
    _, thought_end, answer = text.rpartition(THOUGHT_END)
    step = find_step(answer[:STEP_CHARS])
    if step is None and is_object and thought_end:
        step = find_step(bare)
    return step


def strip_fence(text: str) -> str:
    """Return the text without the fence around it and the word (json) behind the fence."""
    text = text.strip()
    if text.startswith(FENCE):
        text = text.removeprefix(FENCE).lstrip(ascii_letters)
    return text.removesuffix(FENCE).strip()


def find_step(text: str) -> Step | None:
    """Return the first step among the objects of a text, or the one that was cut at its end."""
    for value in list_json_objects(text):
        if step := read_step(value):
            return step
    return read_step(read_cut_object(text))


def decode_json_text(text: str) -> object:
    """Return the value of a text that is JSON and nothing else, else None."""
    try:
        value: object = DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return value


def list_json_objects(text: str) -> list[object]:
    """Return the JSON objects in `text`, outer ones only."""
    objects = []
    start = text.find("{")
    for _ in range(MAX_OBJECT_STARTS):
        if start < 0:
            break
        try:
            value, end = DECODER.raw_decode(text, start)
            objects.append(value)
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return objects


def read_step(value: object) -> Step | None:
    """Return the value as a step; None when it has another shape or no content."""
    if not isinstance(value, dict) or is_deeper_than(value, MOST_NESTING_LEVELS):
        return None
    fields = {normalise_key(key): field for key, field in value.items()}
    content = join_prose(fields.get("content")).strip()
    if not content:
        return None
    title = " ".join(join_prose(fields.get("title")).split())[:TITLE_LENGTH]
    action = join_prose(fields.get("nextaction"))
    return Step(
        repair_surrogates(title) or "Thinking",
        repair_surrogates(content),
        is_final="final" in action.lower(),
    )


def normalise_key(key: object) -> str:
    """Return a key in small letters without separators, as models spell them in several ways."""
    return str(key).lower().replace("_", "").replace(" ", "")


def join_prose(value: object) -> str:
    """Return a value as text; some models write a list of lines or an object."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return json.dumps(value, ensure_ascii=False)
