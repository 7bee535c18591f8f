"""Read the steps that a model writes. No I/O.

A step is one JSON object {"title", "content", "next_action": "continue" | "final_answer"}. Models
write it in many other ways, which are read too: in fences, in prose, in a list or an outer object,
encoded twice, cut in the middle, with LaTeX that is not escaped (`latex_escapes.py`), and with
quotes, commas and colons that are no JSON (`loose_fields.py`).
"""

import json
import re
from string import ascii_letters

from msgspec import Struct

from conversations.strategies.stepwise.cut_json import (
    DECODER,
    HALF_ESCAPE,
    close_first_object,
    decode_closed,
)
from conversations.strategies.stepwise.latex_escapes import escape_latex
from conversations.strategies.stepwise.loose_fields import normalise_name, read_loose_fields
from providers.protocol.json_types import JsonObject
from providers.wire.json_reader import MOST_NESTING_LEVELS, is_deeper_than, repair_surrogates

THOUGHT_START = "<think>"
THOUGHT_END = "</think>"
FENCE = "```"
STEP_CHARS = 65_536  # of an answer, after its thinking, that are parsed
MAX_OBJECT_STARTS = 50  # places where an object may begin
MOST_ENCODINGS = 2  # levels of JSON inside a string of JSON
MOST_WRAPPERS = 2  # outer objects and lists around a step
TITLE_LENGTH = 200
DEFAULT_TITLE = "Thinking"
# names of a step's text; models that forget the first use one of the others
CONTENT_NAMES = ("content", "thought", "thinking", "reasoning", "explanation", "analysis", "text")
ENCODED_OBJECT = re.compile(r'[\s"\\]*+[\[{]\s*+\\++"')


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
    if is_object and (step := read_step(decode_json_text(escape_latex(bare)))):
        return step
    _, thought_end, answer = text.rpartition(THOUGHT_END)
    step = find_step(answer[:STEP_CHARS])
    if step is None and is_object and thought_end:
        step = find_step(bare)
    return step


def read_prose_step(text: str) -> Step | None:
    """Return an answer that has no step's form as the text of a step; None when it says nothing.

    It is the last step: a model that writes none will not say when it is ready.
    """
    thought, _, answer = text.rpartition(THOUGHT_END)
    content = strip_fence(answer) or strip_fence(thought.strip().removeprefix(THOUGHT_START))
    value = decode_json_text(escape_latex(content[:STEP_CHARS]))
    if isinstance(value, dict):
        texts = [field for field in value.values() if isinstance(field, str)]
        content = "\n".join(texts) or content
    if not any(char.isalnum() for char in content):
        return None
    return Step(DEFAULT_TITLE, repair_surrogates(content[:STEP_CHARS]), is_final=True)


def strip_fence(text: str) -> str:
    """Return the text without the fence around it and the word (json) behind the fence."""
    text = text.strip()
    if text.startswith(FENCE):
        text = text.removeprefix(FENCE).lstrip(ascii_letters)
    return text.removesuffix(FENCE).strip()


def find_step(text: str) -> Step | None:
    """Return the first step among the objects of a text, or the one that was cut at its end."""
    for level_text in list_encodings(text):
        json_text = escape_latex(HALF_ESCAPE.sub(r"\1", level_text))
        for value in list_json_objects(json_text):
            if step := read_step(value):
                return step
        if step := read_step(read_broken_object(json_text)):
            return step
    return None


def list_encodings(text: str) -> list[str]:
    """Return the text and, when it is JSON inside a string of JSON, the text of that string too."""
    texts = [text]
    for _ in range(MOST_ENCODINGS):
        bare = strip_fence(texts[-1])
        if not ENCODED_OBJECT.match(bare):
            break
        value = decode_json_text(bare if bare.startswith('"') else f'"{bare}"')
        if not isinstance(value, str):
            break
        texts.append(value)
    return texts[::-1]


def read_broken_object(text: str) -> object:
    """Return the object that a text has without its end, or its fields where it is no JSON."""
    closed_texts = close_first_object(text)
    value = decode_closed(closed_texts[0]) if closed_texts else None
    if value is None:
        value = read_loose_fields(text)
    if not value and closed_texts:
        value = decode_closed(closed_texts[1])  # without its last, unfinished field
    return value


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
    """Return the value as a step; None when it has another shape or no content.

    The step may be in an outer object or a list. Several steps become one.
    """
    if not isinstance(value, dict | list) or is_deeper_than(value, MOST_NESTING_LEVELS):
        return None
    steps = [step for fields in list_step_fields(value) if (step := make_step(fields))]
    if len(steps) < 2:
        return steps[0] if steps else None
    first, *others = steps
    content = "\n\n".join([first.content, *(f"{step.title}\n{step.content}" for step in others)])
    return Step(first.title, content, is_final=steps[-1].is_final)


def list_step_fields(value: object, levels: int = MOST_WRAPPERS) -> list[JsonObject]:
    """Return the objects with content in a value, their fields by normalised names."""
    if isinstance(value, list):
        values = value
    elif isinstance(value, dict):
        fields = {normalise_name(name): field for name, field in value.items()}
        if any(join_prose(fields.get(name)).strip() for name in CONTENT_NAMES):
            return [fields]
        values = list(value.values())
    else:
        return []
    if not levels:
        return []
    return [fields for inner in values for fields in list_step_fields(inner, levels - 1)]


def make_step(fields: JsonObject) -> Step | None:
    """Return the step with these fields; None without content."""
    contents = (join_prose(fields.get(name)).strip() for name in CONTENT_NAMES)
    content = next(filter(None, contents), "")
    if not content:
        return None
    title = " ".join(join_prose(fields.get("title")).split())[:TITLE_LENGTH]
    action = join_prose(fields.get("nextaction"))
    return Step(
        repair_surrogates(title) or DEFAULT_TITLE,
        repair_surrogates(content),
        is_final="final" in action.lower(),
    )


def join_prose(value: object) -> str:
    """Return a value as text; some models write a list of lines or an object."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return json.dumps(value, ensure_ascii=False)
