"""Cut texts to a number of tokens, so that several share it fairly. No I/O."""

from collections.abc import Sequence

from conversations.text.token_estimate import estimate_tokens

CUT_MARK = " […]"
CUT_TRIES = 4
BORDERS = ("\n", "。", ". ", "！", "？", "；", "，", " ")  # noqa: RUF001 - Chinese punctuation


def trim_texts(texts: Sequence[str], room_tokens: int) -> list[str]:
    """Return the texts, the longest of them cut, so that they have at most `room_tokens` tokens.

    Each may have an equal share; what short texts leave of theirs goes to the others.
    """
    tokens = [estimate_tokens(text) for text in texts]
    if sum(tokens) <= room_tokens:
        return list(texts)
    trimmed = list(texts)
    remaining_tokens = max(0, room_tokens)
    by_length = sorted(range(len(texts)), key=tokens.__getitem__)
    for place, number in enumerate(by_length):
        share = remaining_tokens // (len(texts) - place)
        if tokens[number] > share:
            trimmed[number] = cut_text(texts[number], share)
        remaining_tokens -= min(tokens[number], share)
    return trimmed


def cut_text(text: str, most_tokens: int) -> str:
    """Return the beginning of a text, up to a border, with a mark where it was cut."""
    if estimate_tokens(text) <= most_tokens:
        return text
    if most_tokens <= 0:
        return ""
    cut = text
    for _ in range(CUT_TRIES):
        tokens = estimate_tokens(cut + CUT_MARK)
        if tokens <= most_tokens:
            break
        cut = cut[: len(cut) * most_tokens // tokens - 1]
    border = max(cut.rfind(border) + len(border.rstrip()) for border in BORDERS)
    if border > len(cut) // 2:
        cut = cut[:border]
    marked = cut.rstrip() + CUT_MARK
    if estimate_tokens(marked) <= most_tokens:
        return marked
    return text[:most_tokens]  # a character is never more than one token
