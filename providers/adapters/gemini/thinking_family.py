"""Choose how a model of Gemini's is told to think. No I/O.

From Gemini 3 on a model takes a level, Gemini 2.5 a budget in tokens; earlier ones do not think.
Source: Gemini's API documentation, "Gemini thinking", and its table of what `reasoning_effort`
means for each model ("OpenAI compatibility").
"""

import re

from msgspec import Struct

from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.request import UpstreamModel

EFFORT_BUDGETS = {"minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576}
LEVELS = ("minimal", "low", "medium", "high")
# the most tokens of a budget that a level stands for; a larger budget is the highest level
LEVEL_BUDGETS = (("minimal", 512), ("low", 4_096), ("medium", 16_384))
HIGHEST_EFFORTS = ("xhigh", "max")


class ThinkingFamily(Struct, frozen=True):
    """How the models of one family think.

    A family with `levels` takes a level, one with a `most_budget` a budget from `least_budget` on;
    a family with neither does not think. `can_stop`: a budget of 0 switches thinking off.
    """

    levels: tuple[str, ...] = ()
    least_budget: int = 0
    most_budget: int = 0
    can_stop: bool = False

    @property
    def thinks(self) -> bool:
        return bool(self.levels or self.most_budget)

    @property
    def signs_calls(self) -> bool:
        """Return whether its models refuse calls of earlier turns that have no signature."""
        return bool(self.levels)

    def set_effort(self, effort: str) -> JsonObject:
        """Return the fields of `thinkingConfig` for an effort of OpenAI's names."""
        if self.levels:
            return {"thinkingLevel": self._find_level(effort)}
        if effort in HIGHEST_EFFORTS:
            return {"thinkingBudget": self.most_budget}
        return self.set_budget(EFFORT_BUDGETS.get(effort, 0))

    def set_budget(self, tokens: int) -> JsonObject:
        """Return the fields of `thinkingConfig` for a budget in tokens; 0 stands for none."""
        if self.levels:
            fitting = (level for level, most in LEVEL_BUDGETS if tokens <= most)
            return {"thinkingLevel": self._find_level(next(fitting, "high"))}
        if tokens <= 0 and self.can_stop:
            return {"thinkingBudget": 0}
        return {"thinkingBudget": min(max(tokens, self.least_budget), self.most_budget)}

    def _find_level(self, effort: str) -> str:
        """Return the lowest level that is no lower than the effort."""
        if effort in HIGHEST_EFFORTS:
            return self.levels[-1]
        wanted = LEVELS.index(effort) if effort in LEVELS else 0
        higher = (level for level in self.levels if LEVELS.index(level) >= wanted)
        return next(higher, self.levels[-1])


SILENT = ThinkingFamily()
LEVELED = ThinkingFamily(levels=("low", "medium", "high"))
FAMILIES: tuple[tuple[re.Pattern[str], ThinkingFamily], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), family)
    for pattern, family in (
        (r"-image|-tts|-live|-native-audio|embedding|robotics", SILENT),
        (r"gemini-2\.5-flash-lite", ThinkingFamily((), 512, 24_576, can_stop=True)),
        (r"gemini-2\.5-flash", ThinkingFamily((), 1, 24_576, can_stop=True)),
        (r"gemini-2\.5-pro", ThinkingFamily((), 128, 32_768)),
        (r"gemini-3-pro", ThinkingFamily(("low", "high"))),
        (r"gemini-(?:[3-9]|\d\d)[\d.]*-flash|gemini-flash", ThinkingFamily(LEVELS)),
        (r"gemini-(?:[3-9]|\d\d)|gemini-pro-latest", LEVELED),
    )
)
# by the row's option `thinking`, for models whose names say nothing
NAMED_FAMILIES = {
    "level": LEVELED,
    "budget": ThinkingFamily((), 128, 24_576),
    "none": SILENT,
}


def find_thinking_family(model: UpstreamModel) -> ThinkingFamily:
    """Return the family of a model, by its row's options or else by its name."""
    named = model.options.get("thinking")
    if isinstance(named, str) and named in NAMED_FAMILIES:
        return NAMED_FAMILIES[named]
    matching = (family for pattern, family in FAMILIES if pattern.search(model.name))
    return next(matching, SILENT)


def build_thinking_config(body: FrozenJsonObject, model: UpstreamModel) -> JsonObject:
    """Return the `thinkingConfig` that a chat body asks for; empty for a model that does not think.

    Thinking that cannot be switched off is set as low as the model takes it, and not returned.
    """
    family = find_thinking_family(model)
    if not family.thinks:
        return {}
    effort = body.get("reasoning_effort")
    thinking = body.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, dict) else thinking
    if effort == "none" or kind == "disabled" or kind is False:
        return family.set_effort("none") | {"includeThoughts": False}
    config: JsonObject = {"includeThoughts": model.thinking != "hidden"}
    if isinstance(effort, str) and effort:
        return config | family.set_effort(effort)
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if type(budget) is int:
        return config | family.set_budget(budget)
    return config
