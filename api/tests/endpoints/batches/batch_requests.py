"""Input files of batches, batches of them, and their results."""

import json

from providers.database.database_threads import run_in_thread
from proxysite.testing import PATIENCE_SECONDS, wait_until_true
from proxysite.testing.upstream import PAUSE, answer_honestly, send_pieces

CHAT = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


def make_line(custom_id, url=CHAT, **body):
    """Return a line as an object: a chat request of the model `m`, unless the body says more."""
    whole = {"model": "m"} | body
    if url == CHAT:
        whole = {"messages": [{"role": "user", "content": f"Hello {custom_id}"}]} | whole
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": whole}


def make_lines(count):
    return [make_line(f"line-{number}") for number in range(count)]


def render_lines(lines):
    """Return the bytes of an input file; a text is a line as it is."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return "".join(f"{text}\n" for text in texts).encode()


async def answer_at_gate(exchange):
    """Answer when the upstream's gate is open: a script."""
    await send_pieces(PAUSE)(exchange)
    await answer_honestly()(exchange)


async def store_input(client, lines):
    """Upload the lines with OpenAI's client, and return the id of the file."""
    file = await client.files.create(file=("input.jsonl", render_lines(lines)), purpose="batch")
    return file.id


async def create_batch(client, lines, endpoint=CHAT, **fields):
    """Upload the lines and create a batch of them."""
    return await client.batches.create(
        input_file_id=await store_input(client, lines),
        endpoint=endpoint,
        completion_window="24h",
        **fields,
    )


async def wait_for_end(client, batch_id, seconds=PATIENCE_SECONDS):
    """Return the batch once it has ended."""

    async def find_ended():
        batch = await client.batches.retrieve(batch_id)
        return batch if batch.status in ENDED else None

    return await wait_until_true(find_ended, seconds)


async def run_batch(client, lines, endpoint=CHAT, *, seconds=PATIENCE_SECONDS, **fields):
    """Create a batch and return it once it has ended, within so many seconds."""
    batch = await create_batch(client, lines, endpoint, **fields)
    return await wait_for_end(client, batch.id, seconds)


async def read_results(client, file_id):
    """Return the lines of an output or error file by their custom_id."""
    if file_id is None:
        return {}
    content = await client.files.content(file_id)
    results = [json.loads(line) for line in content.text.splitlines()]
    by_id = {result["custom_id"]: result for result in results}
    assert len(by_id) == len(results), "a line has two results"
    return by_id


async def update_rows(rows, **values):
    """Change rows of the database."""
    await run_in_thread(lambda: rows.update(**values))
