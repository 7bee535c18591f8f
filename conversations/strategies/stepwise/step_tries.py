"""The tries of one step, which a model may answer in another form than a step's. No I/O."""

from dataclasses import dataclass, field

from conversations.strategies.stepwise.step_parser import read_prose_step
from conversations.strategies.stepwise.step_prompts import UNREADABLE_PROMPT
from conversations.upstream_calls.strategy_calls import IntermediateAnswer
from providers.exceptions import GatewayError
from providers.protocol.json_types import JsonObject

MAX_TOKENS_FACTOR = 4  # a step that was cut may get up to so many times its tokens


@dataclass(slots=True)
class StepTries:
    """The results of the tries of one step so far, and the request of the next one.

    `prose` is the longest answer that says something and is no step. `reason` is why there is no
    step. `correction` are the messages that the next try adds.
    """

    step_tokens: int
    count: int = 0
    prose: str = ""
    reason: str = "The model gave no readable step."
    correction: list[JsonObject] = field(default_factory=list)
    _tokens_factor: int = 1
    _prose_count: int = 0

    @property
    def tokens(self) -> int:
        """The most tokens of the next try's answer."""
        return self.step_tokens * self._tokens_factor

    @property
    def has_prose_again(self) -> bool:
        """True when the model wrote prose although it was told the form."""
        return self._prose_count > 1

    def record_error(self, error: GatewayError) -> None:
        """Record that a try failed."""
        self.count += 1
        self.reason = error.message

    def record_unreadable(self, answer: IntermediateAnswer) -> None:
        """Record an answer that is no step: it is asked for again, with more room if it was cut."""
        self.count += 1
        if answer.is_cut_off:
            self._tokens_factor = min(self._tokens_factor * 2, MAX_TOKENS_FACTOR)
        elif answer.text:
            self.correction = make_exchange(answer.text, UNREADABLE_PROMPT)
        if read_prose_step(answer.text):
            self._prose_count += 1
            self.prose = max(self.prose, answer.text, key=len)


def make_exchange(answer_text: str, next_prompt: str) -> list[JsonObject]:
    """Return an answer of the model and the user message that follows it."""
    return [
        {"role": "assistant", "content": answer_text},
        {"role": "user", "content": next_prompt},
    ]
