"""The prompt, and the one text that every healthy answer of the faulty upstream has."""

PROMPT = "Say in sixty words what a gateway owes the people who call it when an upstream fails."
ANSWER_TEXT = (
    "A gateway owes its callers three things when an upstream fails. First an answer, if any other"
    " upstream can give one. Second the truth, told soon and in plain words, if none can. Third"
    " restraint, so that an upstream in trouble is not asked again and again. Half an answer that"
    " looks whole is worse than a clear error today."
)
ANSWER_WORDS = ANSWER_TEXT.split()
CUT_AFTER = 40  # words before a stream is cut
STALL_AFTER = 20  # words before a stream stalls
MALFORMED_AFTER = 9  # words before the event that is not JSON


def is_whole_text(text: str) -> bool:
    """Return whether this is the text, with no word more or less."""
    return text.split() == ANSWER_WORDS
