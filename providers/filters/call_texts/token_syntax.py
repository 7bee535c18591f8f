"""The special tokens around tool calls, as they stand in a text. No I/O.

Sources: the chat templates and tool-calling guides that Moonshot (Kimi K2), DeepSeek (V3, R1,
V3.1), Mistral (tokenizers v3 to v13), Meta (Llama 3 and 4), Cohere (Command R to Command A), IBM
(Granite 3), Shanghai AI Laboratory (InternLM 2, Intern-S1), Microsoft (Phi-4-mini) and MiniMax (M3)
publish, and OpenAI's description of the harmony format.
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

# --- JSON behind a token: Cohere, Granite, InternLM, Phi ------------------------------------------
COHERE_OPENERS = ("<|START_ACTION|>",)
# the older models of Cohere write a fence behind a word
COHERE_ACTION = "Action:"
GRANITE_OPENERS = ("<|tool_call|>",)  # Phi-4-mini has the same token
INTERNLM_OPENERS = ("<|action_start|><|plugin|>", "<|action_start|> <|plugin|>")
PHI_MARK = "functools"
PHI_OPENERS = (f"{PHI_MARK}[",)
JSON_OPENERS = (*COHERE_OPENERS, *GRANITE_OPENERS, *INTERNLM_OPENERS, *PHI_OPENERS)
JSON_ENDS = (
    "<|END_ACTION|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|/tool_call|>",
    "<|end_of_text|>",
    "<|action_end|>",
    "<|end|>",
    "<|im_end|>",
)

# --- MiniMax M3: tags behind a mark ---------------------------------------------------------------
MINIMAX_MARK = "]<]minimax[>["
MINIMAX_SECTION = f"{MINIMAX_MARK}<tool_call>"
MINIMAX_INVOKE = f"{MINIMAX_MARK}<invoke "
MINIMAX_OPENERS = (MINIMAX_SECTION, MINIMAX_INVOKE)
MINIMAX_INVOKE_END = f"{MINIMAX_MARK}</invoke>"
MINIMAX_ENDS = (f"{MINIMAX_MARK}</tool_call>",)

# tokens that are dropped behind a call, and are text elsewhere
CLOSERS = (
    *CALL_ENDS,
    *SECTION_ENDS,
    "</s>",
    *LLAMA_ENDS,
    *HARMONY_ENDS,
    *JSON_ENDS,
    *MINIMAX_ENDS,
)
