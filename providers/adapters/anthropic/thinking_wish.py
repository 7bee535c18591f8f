"""Write the wishes of a chat body about thinking for the Messages API. No I/O.

The wishes are `reasoning_effort` and `thinking`; without one the model does as it always does,
only that the text of its thinking is asked for where callers get it. Source: Anthropic's API
reference, "Thinking", "Extended thinking", "Effort".
"""

from typing import Any

from msgspec import Struct

from providers.adapters.anthropic.model_families import ModelFamily
from providers.exceptions import Rejected
from providers.protocol.json_types import FrozenJsonObject, JsonObject

LEAST_BUDGET_TOKENS = 1_024  # that Anthropic takes
# our choice, where a model takes a budget and the caller names an effort
BUDGETS = {
    "minimal": LEAST_BUDGET_TOKENS,
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 24_576,
    "max": 32_768,
}
DEFAULT_EFFORT = "medium"
DISPLAYS = ("summarized", "omitted")


class ThinkingWish(Struct, frozen=True):
    """A caller's wish; `is_on` is None where it says nothing."""

    is_on: bool | None = None
    effort: str = ""  # a name of BUDGETS
    budget_tokens: int | None = None
    display: str = ""
    param: str = "thinking"  # the field of the body that switches it


class ThinkingFrame(Struct, frozen=True):
    """The rest of a request, as far as thinking depends on it."""

    max_tokens: int
    forces_call: bool  # `tool_choice` demands a call
    shows_thinking: bool  # the caller gets the text of the thinking
    has_unthought_call: bool  # the running turn has a call without signed thinking before it


def read_wish(body: FrozenJsonObject) -> ThinkingWish:
    """Return the wish of a body. Raises Rejected for an effort that nobody knows."""
    effort = body.get("reasoning_effort") or ""
    thinking: Any = body.get("thinking")
    if isinstance(thinking, bool):
        thinking = {"type": "adaptive" if thinking else "disabled"}
    if not isinstance(thinking, dict):
        thinking = {}
    if effort not in ("", "none", *BUDGETS):
        raise Rejected(
            f"reasoning_effort is none or one of {', '.join(BUDGETS)}.", param="reasoning_effort"
        )
    kind = thinking.get("type")
    if effort == "none":
        return ThinkingWish(is_on=False, param="reasoning_effort")
    if kind in ("disabled", "between_tools"):
        return ThinkingWish(is_on=False, effort=effort)
    budget = thinking.get("budget_tokens")
    display = thinking.get("display")
    return ThinkingWish(
        is_on=True if effort or kind else None,
        effort=effort,
        budget_tokens=budget if isinstance(budget, int) else None,
        display=display if display in DISPLAYS else "",
    )


def write_thinking(wish: ThinkingWish, family: ModelFamily, frame: ThinkingFrame) -> JsonObject:
    """Return the fields `thinking` and `output_config` that a wish needs, if any.

    A demanded call goes before thinking: with it thinking is off wherever it can be. Raises
    Rejected when thinking shall be off and the model always thinks.
    """
    if not family.thinking:
        return {}
    effort = choose_effort(wish, family)
    fields: JsonObject = {"output_config": {"effort": effort}} if effort else {}
    if wish.is_on is False:
        return fields | switch_off(wish, family)
    if frame.forces_call and family.takes_forced_calls and family.off_type:
        return fields | ({"thinking": {"type": family.off_type}} if wish.is_on is None else {})
    if wish.is_on is None and not family.thinks_by_default:
        return fields
    thinking = choose_thinking(wish, family, frame)
    return fields | {"thinking": thinking} if thinking else fields


def switch_off(wish: ThinkingWish, family: ModelFamily) -> JsonObject:
    """Return the field that switches thinking off. Raises Rejected if the model always thinks."""
    if not family.off_type:
        raise Rejected(
            "This model always thinks; the least is reasoning_effort low.",
            param=wish.param,
            code="unsupported_value",
        )
    return {"thinking": {"type": family.off_type}}


def choose_effort(wish: ThinkingWish, family: ModelFamily) -> str:
    """Return the effort that the model knows and that is nearest to the wish; empty without one."""
    effort = wish.effort
    if not effort and wish.budget_tokens and family.thinking == "adaptive":
        effort = find_effort(wish.budget_tokens)
    if not effort or not family.efforts:
        return ""
    if effort == "minimal":
        return "low"
    return effort if effort in family.efforts else "high"


def find_effort(budget_tokens: int) -> str:
    """Return the effort whose budget is the least that is not below this one."""
    return next((name for name, tokens in BUDGETS.items() if tokens >= budget_tokens), "max")


def choose_thinking(
    wish: ThinkingWish, family: ModelFamily, frame: ThinkingFrame
) -> JsonObject | None:
    """Return the value of `thinking` that switches it on; None where it cannot be or need not."""
    wants_budget = family.thinking == "both" and wish.budget_tokens
    if family.thinking == "budget" or wants_budget:
        budget = choose_budget(wish, frame.max_tokens)
        if budget is None or frame.has_unthought_call:
            return None
        return {"type": "enabled", "budget_tokens": budget}
    display = wish.display
    if not display and family.hides_thinking and frame.shows_thinking:
        display = "summarized"
    if not display:
        return {"type": "adaptive"} if wish.is_on else None
    return {"type": "adaptive", "display": display}


def choose_budget(wish: ThinkingWish, max_tokens: int) -> int | None:
    """Return the budget of thinking; None where the limit of the answer leaves no room for it.

    A budget that the caller names is sent as it is.
    """
    if wish.budget_tokens is not None:
        return wish.budget_tokens
    budget = min(BUDGETS[wish.effort or DEFAULT_EFFORT], max_tokens * 3 // 4)
    return budget if budget >= LEAST_BUDGET_TOKENS else None
