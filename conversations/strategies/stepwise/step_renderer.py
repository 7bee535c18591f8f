"""Render the steps of the `stepwise` strategy for the caller, as part of one answer."""

from collections.abc import Sequence
from html import escape

from conversations.strategies.stepwise.step_parser import Step
from providers.protocol.chunks import Chunk, make_delta
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest

# forms beside those of StepwiseOptions.format; only a caller may ask for them
INLINE = "inline"
HIDDEN = "hidden"


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
    if form == INLINE:
        return "</think>\n\n"
    if form in ("markdown", "details"):
        return "### Final Answer\n\n"
    return ""


def render_thinking(steps: Sequence[Step]) -> str:
    """Return all steps as one text, for the call that writes the final answer."""
    texts = [render_step(step, number, "reasoning") for number, step in enumerate(steps, 1)]
    return "".join(texts).strip()


class StepRenderer:
    """The chunks for the caller, in the chosen form: they look like one answer."""

    def __init__(self, request: ChatRequest, form: str, *, shows_status: bool) -> None:
        self._request = request
        self._form = form
        self._shows_status = shows_status
        self._field = "reasoning_content" if form == "reasoning" else "content"
        self._steps: list[Step] = []
        self._steps_text = ""  # text of the steps, as the caller sees it
        self._held_text = ""  # the end of it that is not sent yet
        self._has_begun = False
        self._is_closed = False

    def render_finished_step(self, step: Step) -> list[Chunk]:
        """Return the chunks that show a finished step.

        The chunks of a failed step are held back until the answer begins.
        """
        self._steps.append(step)
        text = render_step(step, len(self._steps), self._form)
        if text and len(self._steps) == 1:
            text = render_opening(self._form) + text
        self._steps_text += text
        self._held_text += text
        return [] if step.has_failed else self._flush_held_text()

    def _flush_held_text(self) -> list[Chunk]:
        """Return the text that was held back as a chunk."""
        delta = {}
        if not self._has_begun:
            delta["role"] = "assistant"
        if self._held_text:
            delta[self._field] = self._held_text
        self._held_text = ""
        self._has_begun = True
        return [make_delta(self._request, **delta)]

    def render_step_status(self) -> list[Chunk]:
        """Return a chunk with the number of the step that is made next."""
        return self._render_status({"state": "thinking", "step": len(self._steps) + 1})

    def render_answer_status(self) -> list[Chunk]:
        """Return a chunk that says that the final answer is made next."""
        return self._render_status({"state": "answering", "step": None})

    def _render_status(self, status: JsonObject) -> list[Chunk]:
        """Return a chunk with the status; none when nothing was sent or no status is wanted."""
        if not self._shows_status or not self._has_begun:
            return []
        return [make_delta(self._request) | {"status": status}]

    @property
    def preface(self) -> str:
        """The steps so far, if they are part of the answer's text."""
        return self._steps_text if self._field == "content" else ""

    @property
    def closing_text(self) -> str:
        return render_closing(self._form)

    def stored_steps(self) -> JsonObject:
        """Return the steps so far, as they are stored."""
        seconds = round(sum(step.seconds for step in self._steps), 3)
        return {"steps": [step.as_dict() for step in self._steps], "total_thinking_time": seconds}

    def extra_fields(self) -> JsonObject:
        """Return the answer's fields beside OpenAI's."""
        fields = self.stored_steps()
        if self._form == HIDDEN:
            fields["steps"] = []
        return fields

    def render_final_batch(self, batch: Sequence[Chunk]) -> list[Chunk]:
        """Return a batch of the final answer with the additional chunks.

        These are the steps held back before it, and the extra fields before its end.
        """
        chunks = self._close_steps()
        for chunk in batch:
            for choice in chunk["choices"]:
                if choice["index"] == 0:
                    chunks += self._prepare_choice(choice)
                self._has_begun = True
            chunks.append(chunk)
        return chunks

    def _close_steps(self) -> list[Chunk]:
        """Return the rest of the steps' text once, before the final answer."""
        if self._is_closed:
            return []
        self._is_closed = True
        self._held_text += self.closing_text
        return self._flush_held_text() if self._held_text else []

    def _prepare_choice(self, choice: JsonObject) -> list[Chunk]:
        """Remove a role that was sent before; return the extra fields when the choice ends."""
        if self._has_begun:
            (choice.get("delta") or {}).pop("role", None)
        if choice.get("finish_reason"):
            return [make_delta(self._request) | self.extra_fields()]
        return []

    def render_whole_answer(self, answer: Chunk) -> Chunk:
        """Return the whole final answer with the steps in front and the extra fields."""
        text = self._steps_text + self.closing_text
        for choice in answer["choices"]:
            message = choice["message"]
            if choice["index"] == 0 and text:
                message[self._field] = text + (message.get(self._field) or "")
        return answer | self.extra_fields()
