"""The prompts and the options of the `stepwise` strategy."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

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


class StepwiseOptions(Struct, frozen=True):
    """The options of `stepwise` in a VirtualModel row."""

    min_steps: Annotated[int, Meta(ge=1, le=25)] = 3
    max_steps: Annotated[int, Meta(ge=1, le=50)] = 25
    step_tokens: Annotated[int, Meta(ge=64, le=32_768)] = 1024
    # used where the caller sets no limit
    final_tokens: Annotated[int, Meta(ge=64, le=131_072)] | None = None
    max_calls: Annotated[int, Meta(ge=2, le=200)] = 60  # upstream calls in all, retries included
    prompt: Annotated[str, Meta(max_length=20_000)] = ""  # replaces THINKING_PROMPT
    format: Literal["reasoning", "markdown", "details"] = "reasoning"
    feedback: bool = True  # streamed chunks with the number of the step in progress
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None

    def render_system_prompt(self) -> str:
        """Return the system prompt; the operator's own is followed by the required form."""
        if self.prompt:
            return f"{self.prompt}\n\n{FORM_PROMPT}"
        return THINKING_PROMPT.format(min_steps=self.min_steps)
