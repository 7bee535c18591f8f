"""Read the tool calls that a native upstream lets slip into its text. No I/O.

An upstream that supports tools turns the tokens of a call into a tool call. Where its reader fails,
the tokens come as text or thinking, in streams and in whole answers.
"""

import asyncio
from contextlib import aclosing

from providers.filters import conform
from providers.filters.answer_folder import AnswerFolder
from providers.filters.filter_pipeline import divide_batch
from providers.filters.prompted_tools.call_reader import CallReader
from providers.protocol.chunks import Batches, Chunk

TEXT_FIELDS = ("content", "reasoning_content", "reasoning")


async def read_leaked_calls(
    batches: Batches, reader: CallReader, most_answer_bytes: int = 2**26
) -> Batches:
    """Yield the answer with the calls in its text as tool calls, as chunks or whole as it came.

    A whole answer may have at most `most_answer_bytes`.
    """
    async with aclosing(batches):
        async for batch in batches:
            if len(batch) == 1 and reader.passes_plain(batch[0]):
                yield batch
            elif batch[0].get("object") == "chat.completion":
                yield [await read_whole_answer(batch[0], reader, most_answer_bytes)]
            elif filtered := await filter_batch(batch, reader):
                yield filtered


async def filter_batch(batch: list[Chunk], reader: CallReader) -> list[Chunk]:
    """Return the filtered batch; other tasks may run between the portions of long texts."""
    filtered: list[Chunk] = []
    for chunk in batch:
        if reader.passes_plain(chunk):
            filtered.append(chunk)
            continue
        portions = divide_batch([chunk])
        filtered += reader.filter_chunks(next(portions))
        for portion in portions:
            await asyncio.sleep(0)
            filtered += reader.filter_chunks(portion)
    return filtered


async def read_whole_answer(answer: Chunk, reader: CallReader, most_answer_bytes: int) -> Chunk:
    """Return a whole answer; it stays as it is if no text in it has a sign of a call."""
    messages = [choice["message"] for choice in answer["choices"]]
    texts = [message.get(field) for message in messages for field in TEXT_FIELDS]
    if not any(map(reader.may_hold_calls, texts)):
        return answer
    folder = AnswerFolder(most_answer_bytes)
    folder.add_chunks(await filter_batch(conform.convert_to_chunks(answer), reader))
    return folder.build_answer()
