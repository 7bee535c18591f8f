"""The options and the prompts of the `multipath` strategy."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

MAX_CANDIDATES = 8
CandidateCount = Annotated[int, Meta(ge=1, le=MAX_CANDIDATES)]

FRAMEWORK_PROMPT = """\
Before anybody answers the question above, plan the answer. Write briefly, in the \
language of the question: what exactly is asked; what decides the answer; the steps that lead to \
it, in order; what is hard about it; how to recognise a good answer. Do not answer the question \
itself."""
CANDIDATE_PROMPT = "Answer the question above, completely and for its reader."
PLAN_PROMPT = "This plan was made for it; leave it where it is wrong:\n\n{plan}"
PASSAGE_PROMPT = (
    "Start from this passage of what you were given, and check the rest against it:\n\n{passage}"
)
SYNTHESIS_PROMPT = """Here are {count} independent drafts of an answer to the question above.

{drafts}

Write the one best answer. Keep what is right and useful in each draft; where they disagree find \
out which is right, and say so if it cannot be known; leave out what is wrong or said twice. \
Answer in the form and language that the question asks for, and do not speak of drafts."""
ANGLES = (
    "Work forward from the facts that are given, one inference at a time.",
    "Start from what a complete answer would have to contain, and work backwards to it.",
    "First think of the answer most people would give, and look for where it fails.",
    "Take a concrete example, follow it through, and generalise from it.",
    "Compare at least two different methods or positions before you choose.",
    "Look at edge cases, exceptions and hidden assumptions first.",
    "Explain it from first principles, as if nothing were known of it.",
    "Think of who uses the answer: what must they do, and what could go wrong?",
)


class MultipathOptions(Struct, frozen=True):
    """The options of `multipath` in a VirtualModel row."""

    candidates: CandidateCount = 3  # 1: the model is called once
    framework: bool | None = None  # plan first; None: when there are several candidates
    sampling: Literal["random", "entropy", "relevance", "diversity"] = "diversity"
    synthesis: Literal["model", "majority", "weighted", "hierarchical", "consensus"] = "model"
    max_calls: Annotated[int, Meta(ge=1, le=100)] = 30  # upstream calls in all, retries included
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None  # of the candidates
    # used where the caller sets none
    final_temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    candidate_tokens: Annotated[int, Meta(ge=64, le=32_768)] | None = None
    show_candidates: bool = False  # in the answer's field of that name

    @property
    def wants_plan(self) -> bool:
        return self.candidates > 1 if self.framework is None else self.framework
