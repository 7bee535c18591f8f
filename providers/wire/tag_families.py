"""The tags that models put around their thinking and their answers.

Sources: the chat templates and model cards of these models, OpenAI's description of the harmony
format, and published clients of K2-Think's site and of other Open WebUI sites.
"""

from providers.wire.tags import ClosingTag, OpeningTag

ANSWER = "<answer>"
END_THINK = ClosingTag("</think>")
END_ANSWER = ClosingTag("</answer>")
END_SOLUTION = ClosingTag("<|end_of_solution|>")
END_MESSAGE = ClosingTag("<|end|>")
END_HARMONY = ClosingTag("<|return|>", "<|end|>")


def make_element(name: str) -> OpeningTag:
    """Return the opening tag of an element of thinking, such as `<think …>`."""
    return OpeningTag(f"<{name}", ClosingTag(f"</{name}>"), has_attributes=True)


def make_answer_tag(text: str, closing: ClosingTag) -> OpeningTag:
    return OpeningTag(text, closing, is_answer=True)


OPEN_WEBUI_TAGS = (
    OpeningTag("<think", END_THINK, has_attributes=True),
    OpeningTag(
        "<details",
        ClosingTag("</details>"),
        has_attributes=True,
        attribute='type="reasoning"',
        has_summary=True,
    ),
)
ANSWER_TAG = make_answer_tag(ANSWER, END_ANSWER)
# the families by the names that dialects use: first the tag whose closing tag ends thinking without
# an opening tag
TAG_FAMILIES: dict[str, tuple[OpeningTag, ...]] = {
    # DeepSeek R1, Qwen, K2-Think, MiniMax M2 and most others
    "think": (*OPEN_WEBUI_TAGS, ANSWER_TAG),
    "thinking": (make_element("thinking"), ANSWER_TAG),
    "thought": (make_element("thought"), ANSWER_TAG),
    "reasoning": (make_element("reasoning"), ANSWER_TAG),
    # Kimi-VL
    "kimi-vl": (OpeningTag("◁think▷", ClosingTag("◁/think▷")),),
    # Mistral's Magistral
    "mistral": (OpeningTag("[THINK]", ClosingTag("[/THINK]")),),
    # OpenThinker, Sky-T1
    "begin_of_thought": (
        OpeningTag(
            "<|begin_of_thought|>",
            ClosingTag("<|end_of_thought|>"),
            answer_closing=END_SOLUTION,
        ),
        make_answer_tag("<|begin_of_solution|>", END_SOLUTION),
    ),
    # MiniMax M3
    "minimax": (make_element("mm:think"),),
    # Cohere's Command A and later
    "cohere": (
        OpeningTag("<|START_THINKING|>", ClosingTag("<|END_THINKING|>")),
        make_answer_tag("<|START_RESPONSE|>", ClosingTag("<|END_RESPONSE|>")),
        make_answer_tag("<|START_TEXT|>", ClosingTag("<|END_TEXT|>")),
    ),
    # gpt-oss
    "harmony": (
        OpeningTag("<|channel|>analysis<|message|>", END_MESSAGE, answer_closing=END_HARMONY),
        OpeningTag(
            "<|start|>assistant<|channel|>analysis<|message|>",
            END_MESSAGE,
            answer_closing=END_HARMONY,
        ),
        make_answer_tag("<|channel|>final<|message|>", END_HARMONY),
        make_answer_tag("<|start|>assistant<|channel|>final<|message|>", END_HARMONY),
    ),
}
# all of them, each tag once
ALL_TAGS = tuple(dict.fromkeys(tag for tags in TAG_FAMILIES.values() for tag in tags))


def list_tags(family: str) -> tuple[OpeningTag, ...]:
    """Return the tags of a family; those of all families for an empty name."""
    return TAG_FAMILIES[family] if family else ALL_TAGS
