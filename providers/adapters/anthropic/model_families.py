"""The abilities of the families of Claude models: thinking, effort, sampling, schemas. No I/O.

Sources, as of November 2026: platform.claude.com/docs, the pages of each model with its migration
guide, "Thinking", "Extended thinking", "Effort", "Structured outputs", "Mid-conversation system
messages", and the errors reference ("Prefill not supported").
"""

import re
from typing import Literal

from msgspec import Struct, structs

# how a model is told to think:
#   "":         it cannot
#   "budget":   `enabled` with a number of tokens
#   "both":     `adaptive`, or `enabled` with a number of tokens
#   "adaptive": `adaptive` with an effort
ThinkingWay = Literal["", "budget", "both", "adaptive"]
OLD_EFFORTS = ("low", "medium", "high", "max")
ALL_EFFORTS = ("low", "medium", "high", "xhigh", "max")


class ModelFamily(Struct, frozen=True):
    """The abilities of models that take the same fields; the defaults are those of the newest."""

    thinking: ThinkingWay = "adaptive"
    thinks_by_default: bool = True
    # the type of `thinking` that switches it off; empty: it cannot be switched off
    off_type: str = "disabled"
    hides_thinking: bool = True  # its thinking has no text unless the request asks for it
    efforts: tuple[str, ...] = ALL_EFFORTS  # of `output_config.effort`
    takes_sampling: bool = False  # temperature, top_p and top_k
    takes_both_samplings: bool = False  # temperature and top_p in one request
    takes_forced_calls: bool = True  # `tool_choice` of type any or tool
    takes_system_messages: bool = True  # a message of the role system among the others
    takes_prefill: bool = False  # the last message may be the model's: it goes on with it
    has_structured_output: bool = True  # `output_config.format`, and strict tools
    most_output_tokens: int = 128_000


NEWEST = ModelFamily()
ALWAYS_THINKING = structs.replace(NEWEST, off_type="", takes_forced_calls=False)
CLAUDE_4_7 = structs.replace(NEWEST, thinks_by_default=False, takes_system_messages=False)
CLAUDE_4_6 = structs.replace(
    CLAUDE_4_7, thinking="both", hides_thinking=False, efforts=OLD_EFFORTS, takes_sampling=True
)
CLAUDE_4_5 = structs.replace(
    CLAUDE_4_6, thinking="budget", efforts=(), takes_prefill=True, most_output_tokens=64_000
)
CLAUDE_4 = structs.replace(CLAUDE_4_5, has_structured_output=False, takes_both_samplings=True)
CLAUDE_3 = structs.replace(CLAUDE_4, thinking="", most_output_tokens=4_096)
# services that speak the Messages API with models of their own
OTHER_MODELS = structs.replace(CLAUDE_4, takes_both_samplings=True, most_output_tokens=32_000)

# the first pattern found in a model's name decides; names may have a prefix and a date
FAMILIES: tuple[tuple[str, ModelFamily], ...] = (
    # Fable and Mythos 5 take a forced call, their successors do not
    (r"(?:fable|mythos)-5(?:-\d{8})?$", structs.replace(ALWAYS_THINKING, takes_forced_calls=True)),
    (r"fable|mythos|opus-5[.-]5", ALWAYS_THINKING),
    (
        r"sonnet-5[.-]5",
        structs.replace(NEWEST, off_type="between_tools", takes_forced_calls=False),
    ),
    (r"sonnet-5(?:-\d{8})?$", structs.replace(NEWEST, takes_system_messages=False)),
    (r"opus-4[.-]8", structs.replace(NEWEST, thinks_by_default=False)),
    (r"opus-4[.-]7", CLAUDE_4_7),
    (r"opus-4[.-]6", CLAUDE_4_6),
    (r"sonnet-4[.-]6", structs.replace(CLAUDE_4_6, most_output_tokens=64_000)),
    (r"(?:opus|sonnet|haiku)-4[.-]5", CLAUDE_4_5),
    (
        r"opus-4[.-]1(?!\d)",
        structs.replace(CLAUDE_4_5, most_output_tokens=32_000),
    ),
    (r"opus-4", structs.replace(CLAUDE_4, most_output_tokens=32_000)),
    (r"sonnet-4|3[.-]7-sonnet", CLAUDE_4),
    (r"3[.-]5-", structs.replace(CLAUDE_3, most_output_tokens=8_192)),
    (r"claude-(?:3|2|instant)", CLAUDE_3),
    (r"claude", NEWEST),
)
PATTERNS = tuple((re.compile(pattern, re.IGNORECASE), family) for pattern, family in FAMILIES)


def find_family(model_name: str) -> ModelFamily:
    """Return the family of a model; a Claude model that is not known is like the newest."""
    for pattern, family in PATTERNS:
        if pattern.search(model_name):
            return family
    return OTHER_MODELS
