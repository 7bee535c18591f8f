"""Prompts, parser and output forms of the `stepwise` strategy. No I/O.

A step is one JSON object {"title", "content", "next_action": "continue" | "final_answer"}. The
parser also reads steps in fences or in prose, with stray commas, with line breaks in strings, and
steps that are cut in the middle, because models write all these.
"""

import json
from collections.abc import Sequence
from html import escape
from string import ascii_letters
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from conversations.reasoning.cut_json import DECODER, read_cut_object
from providers.wire.json_reader import MOST_NESTING_LEVELS, is_deeper_than, repair_surrogates

THINKING_PROMPT = """\
You solve problems by thinking in the open, one step at a time, before you answer.

Each of your messages is exactly one step, written as one JSON object with these keys and nothing \
around it:
- "title": a few words that name the step
- "content": the thinking of this step, as much as it needs, in the language of the question
- "next_action": "continue" if more thinking is needed, "final_answer" if you are ready to answer

How to think:
- Begin with what is asked, what is given, and what would count as a good answer.
- Make at least {min_steps} steps, and more where the problem is hard. Do one thing per step.
- Try more than one way to the result, three where you can, and compare what they give.
- Look for your own mistake: say where you could be wrong, then check that place by another method \
than before.
- Keep in mind what you cannot know or do, and say so instead of guessing.
- Do not write the final answer for the reader yet; you are asked for it when the steps are done.

Example: {{"title": "What is asked", "content": "The question wants …, given …", \
"next_action": "continue"}}"""
FORM_PROMPT = (
    'Write exactly one JSON object with the keys "title", "content" and "next_action" '
    '("continue" or "final_answer"), '
    "and nothing around it."
)
NEXT_STEP_PROMPT = "Go on with step {number}."
TOO_FEW_PROMPT = (
    "That was step {number}, and at least {min_steps} are needed. Examine it from another side "
    "in the next step."
)
UNREADABLE_PROMPT = "Your last message was no step. " + FORM_PROMPT
FINAL_PROMPT = (
    "The thinking is done. Now write the final answer to my question for the reader, resting on "
    "that thinking: "
    "complete by itself, in the form I asked for, and without speaking of steps."
)


class Options(Struct, frozen=True):
    """The options of `stepwise` in a VirtualModel row."""

    min_steps: Annotated[int, Meta(ge=1, le=25)] = 3
    max_steps: Annotated[int, Meta(ge=1, le=50)] = 25
    step_tokens: Annotated[int, Meta(ge=64, le=32_768)] = 1024
    # used where the caller sets no limit
    final_tokens: Annotated[int, Meta(ge=64, le=131_072)] | None = None
    max_calls: Annotated[int, Meta(ge=2, le=200)] = 60  # upstream calls in all, retries included
    prompt: Annotated[str, Meta(max_length=20_000)] = ""  # replaces PROMPT
    format: Literal["reasoning", "markdown", "details"] = "reasoning"
    feedback: bool = True  # streamed chunks with the number of the step in progress
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None

    def render_system_prompt(self) -> str:
        """Return the system prompt; the operator's own is followed by the required form."""
        return (
            f"{self.prompt}\n\n{FORM_PROMPT}"
            if self.prompt
            else THINKING_PROMPT.format(min_steps=self.min_steps)
        )


class Step(Struct, frozen=True):
    title: str
    content: str
    is_final: bool = False  # the model is ready to answer
    seconds: float = 0.0
    has_failed: bool = False

    def as_json(self) -> str:
        """Return the step as the model wrote it, for its next call."""
        action = "final_answer" if self.is_final else "continue"
        said = {"title": self.title, "content": self.content, "next_action": action}
        return json.dumps(said, ensure_ascii=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the step as an entry of the answer's `steps`."""
        return {"title": self.title, "content": self.content, "seconds": round(self.seconds, 3)}


# --- reading --------------------------------------------------------------------------------------
THOUGHT_END = "</think>"
FENCE = "```"
STEP_CHARS = 65_536  # of an answer, after its thinking, that are parsed
MAX_OBJECT_STARTS = 50  # places where an object may begin
TITLE_LENGTH = 200


def parse_step(text: str) -> Step | None:
    """Return the step in a model's answer, repaired where possible; None when there is none."""
    bare = strip_fence(text)[:STEP_CHARS]
    begins = bare.startswith("{")  # then THOUGHT_END may be part of the step's text
    if begins and (step := read_step(decode_json_text(bare))):
        return step
    _, ended, answer = text.rpartition(THOUGHT_END)
    return find_step(answer[:STEP_CHARS]) or (find_step(bare) if begins and ended else None)


def strip_fence(text: str) -> str:
    """Return the text without the fence around it and the word (json) behind the fence."""
    text = text.strip()
    if text.startswith(FENCE):
        text = text.removeprefix(FENCE).lstrip(ascii_letters)
    return text.removesuffix(FENCE).strip()


def find_step(text: str) -> Step | None:
    found = next((step for value in list_json_objects(text) if (step := read_step(value))), None)
    return found or read_step(read_cut_object(text))


def decode_json_text(text: str) -> Any:
    """Return the value of a text that is JSON and nothing else, else None."""
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def list_json_objects(text: str) -> list[Any]:
    """Return the JSON objects in `text`, outer ones only."""
    found = []
    at = text.find("{")
    for _ in range(MAX_OBJECT_STARTS):
        if at < 0:
            break
        try:
            value, end = DECODER.raw_decode(text, at)
            found.append(value)
        except (ValueError, RecursionError):
            end = at + 1
        at = text.find("{", end)
    return found


def read_step(value: Any) -> Step | None:
    """Return the value as a step; None when it has another shape or no content."""
    if not isinstance(value, dict) or is_deeper_than(value, MOST_NESTING_LEVELS):
        return None
    known = {
        str(name).lower().replace("_", "").replace(" ", ""): found for name, found in value.items()
    }
    title = join_prose(known.get("title"))
    content = join_prose(known.get("content"))
    if not content.strip():
        return None
    title = repair_surrogates(" ".join(title.split())[:TITLE_LENGTH]) or "Thinking"
    return Step(
        title,
        repair_surrogates(content.strip()),
        "final" in join_prose(known.get("nextaction")).lower(),
    )


def join_prose(value: Any) -> str:
    """Return a value as text; some models write a list of lines or an object."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return "" if value is None else json.dumps(value, ensure_ascii=False)


# --- showing --------------------------------------------------------------------------------------
INLINE = "inline"
HIDDEN = "hidden"  # two more forms than in the options, which only a caller may ask for


def render_step(step: Step, number: int, form: str) -> str:
    """Return the text of one finished step in its form."""
    if form == HIDDEN:
        return ""
    if form == "details":
        content = escape(step.content, quote=False).replace("\n", "<br>")
        title = escape(step.title, quote=False)
        return f"<details open><summary>Step {number}: {title}</summary>{content}</details>\n\n"
    level = "##" if form == "markdown" else "###"
    return f"{level} Step {number}: {step.title}\n\n{step.content}\n\n"


def render_opening(form: str) -> str:
    """Return the text before the first step."""
    return "<think>\n" if form == INLINE else ""


def render_closing(form: str) -> str:
    """Return the text between the steps and the final answer."""
    return {
        INLINE: "</think>\n\n",
        "markdown": "### Final Answer\n\n",
        "details": "### Final Answer\n\n",
    }.get(form, "")


def render_thinking(steps: Sequence[Step]) -> str:
    """Return all steps as one text, for the call that writes the final answer."""
    return "".join(
        render_step(step, number, "reasoning") for number, step in enumerate(steps, 1)
    ).strip()
