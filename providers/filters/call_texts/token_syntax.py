"""The special tokens around tool calls, as they stand in a text. No I/O.

Sources: the chat templates and tool-calling guides that Moonshot (Kimi K2), DeepSeek (V3, R1,
V3.1), Mistral (tokenizers v3 to v13) and Meta (Llama 3 and 4) publish, and OpenAI's description of
the harmony format.
"""

# bars and blanks of DeepSeek's tokens, and how other programs write them
DEEPSEEK_BARS = ("\uff5c", "|")
DEEPSEEK_BLANKS = ("\u2581", "_")


def spell_deepseek_token(words: str) -> tuple[str, ...]:
    """Return the spellings of a token of DeepSeek's that consists of these words."""
    return tuple(
        f"<{bar}{words.replace(' ', blank)}{bar}>"
        for bar in DEEPSEEK_BARS
        for blank in DEEPSEEK_BLANKS
    )


# --- Kimi K2 and DeepSeek: a section of calls, each with a head and arguments ---------------------
KIMI_SECTIONS = ("<|tool_calls_section_begin|>", "<|tool_call_section_begin|>")
KIMI_CALL = "<|tool_call_begin|>"
KIMI_OPENERS = (*KIMI_SECTIONS, KIMI_CALL)
DEEPSEEK_SECTIONS = spell_deepseek_token("tool calls begin")
DEEPSEEK_OPENERS = (*DEEPSEEK_SECTIONS, *spell_deepseek_token("tool call begin"))
SECTION_TOKENS = frozenset((*KIMI_SECTIONS, *DEEPSEEK_SECTIONS))
CALL_TOKENS = tuple(dict.fromkeys((KIMI_CALL, *spell_deepseek_token("tool call begin"))))
HEAD_ENDS = ("<|tool_call_argument_begin|>", *spell_deepseek_token("tool sep"))
CALL_ENDS = tuple(dict.fromkeys(("<|tool_call_end|>", *spell_deepseek_token("tool call end"))))
SECTION_ENDS = (
    "<|tool_calls_section_end|>",
    "<|tool_call_section_end|>",
    *spell_deepseek_token("tool calls end"),
)

# --- Mistral, Llama, harmony ----------------------------------------------------------------------
MISTRAL_OPENER = "[TOOL_CALLS]"
MISTRAL_ARGUMENTS = "[ARGS]"
MISTRAL_ID = "[CALL_ID]"
MISTRAL_ENDS = ("</s>",)
LLAMA_OPENERS = ("<|python_tag|>", "<|python_start|>")
LLAMA_ENDS = ("<|python_end|>", "<|eom_id|>", "<|eot_id|>", "<|eot|>", "<|eom|>")
HARMONY_OPENERS = ("<|channel|>", "<|start|>")
HARMONY_ENDS = ("<|call|>", "<|end|>", "<|return|>")
HARMONY_MESSAGE = "<|message|>"
HARMONY_HEAD_TOKENS = (HARMONY_MESSAGE, "<|channel|>", "<|constrain|>")

# tokens that are dropped behind a call, and are text elsewhere
CLOSERS = (*CALL_ENDS, *SECTION_ENDS, "</s>", *LLAMA_ENDS, *HARMONY_ENDS)
