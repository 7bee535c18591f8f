"""Make one whole answer of the chunks that the rounds of a request have brought. No I/O."""

from collections.abc import Sequence

from providers.filters.answer_folder import fold_answer
from providers.protocol.chunks import ANSWER_PIECES, SERVER_ITEM, Batches, Chunk


def fold_pieces(chunks: Sequence[Chunk]) -> Chunk:
    """Return the whole answer, with its chunks beside it for whoever needs their order."""
    visible = [chunk for chunk in chunks if SERVER_ITEM not in chunk]
    answer = fold_answer(visible)
    annotations = [
        annotation
        for chunk in visible
        for choice in chunk["choices"]
        for annotation in choice["delta"].get("annotations") or ()
    ]
    if annotations:
        answer["choices"][0]["message"]["annotations"] = annotations
    answer[ANSWER_PIECES] = list(chunks)
    return answer


async def hide_server_items(batches: Batches) -> Batches:
    """Yield an answer without what only the log and the Responses renderer read."""
    async for batch in batches:
        for chunk in batch:
            chunk.pop(ANSWER_PIECES, None)
        if visible := [chunk for chunk in batch if SERVER_ITEM not in chunk]:
            yield visible
