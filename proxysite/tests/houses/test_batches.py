"""Batches outlive processes that are killed: no line is lost, and none has two results.

On SQLite `serve` runs the lines; on Postgres the process that a real Celery worker starts does.
"""

import asyncio
import os
import signal
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from django.conf import settings
from openai import AsyncOpenAI

from api.tests.endpoints.batches.batch_requests import (
    create_batch,
    make_lines,
    read_results,
    wait_for_end,
)
from proxysite.testing import wait_until_true
from proxysite.testing.upstream import answer_honestly
from proxysite.tests.houses.test_renewal import celery_worker

LINES_AT_ONCE = 4
ANSWERED = 12
STARTING_SECONDS = 60.0  # for processes to start; it measures nothing


def find_batch_process(house):
    """Return the id of the process that runs the house's batches; None while there is none."""
    if settings.EMBEDDED_DATABASE:
        return house.process.pid
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            environment = (path / "environ").read_bytes()
        except OSError:
            continue
        is_own = f"PROXYSITE_HOME={house.home}".encode() in environment.split(b"\0")
        if b"run_batches" in words and is_own:
            return int(path.name)
    return None


def run_worker(house):
    """Run what runs batches beside `serve`."""
    return nullcontext() if settings.EMBEDDED_DATABASE else celery_worker(house)


def answer_some(count):
    """Return a script that answers `count` requests, and keeps the others waiting."""
    answered = 0

    async def answer_or_wait(exchange):
        nonlocal answered
        answered += 1
        if answered > count:
            return await exchange.gateway_left.wait()
        return await answer_honestly()(exchange)

    return answer_or_wait


def count_questions(upstream):
    """Return how often the upstream was asked each question."""
    return Counter(request.json["messages"][0]["content"] for request in upstream.requests)


async def test_a_batch_goes_on_after_its_process_was_killed(own_house, house_key, house_upstream):
    upstream = house_upstream
    upstream.set_default_script(answer_some(ANSWERED))
    own_house.environment |= {
        "BATCH_LEASE_SECONDS": "2",
        "BATCH_LINES_AT_ONCE": str(LINES_AT_ONCE),
    }
    await asyncio.to_thread(own_house.start)
    lines = make_lines(40)
    async with AsyncOpenAI(base_url=f"{own_house.url}/v1", api_key=house_key) as client:
        with run_worker(own_house):
            batch = await create_batch(client, lines)
            await wait_until_true(
                lambda: len(upstream.requests) == ANSWERED + LINES_AT_ONCE, STARTING_SECONDS
            )
            os.kill(find_batch_process(own_house), signal.SIGKILL)
        upstream.set_default_script(answer_honestly())
        if settings.EMBEDDED_DATABASE:
            await asyncio.to_thread(own_house.wait_for_end)
            await asyncio.to_thread(own_house.start, port=own_house.port)
        with run_worker(own_house) as worker:
            if worker is not None:
                own_house.run_manage_command("shell", "-c", SEND_TASK)
            batch = await wait_for_end(client, batch.id, STARTING_SECONDS)
        assert batch.status == "completed"
        assert batch.request_counts.model_dump() == {"total": 40, "completed": 40, "failed": 0}
        results = await read_results(client, batch.output_file_id)
    assert sorted(results) == sorted(line["custom_id"] for line in lines)
    questions = count_questions(upstream)
    assert len(questions) == 40
    asked_again = [question for question, count in questions.items() if count > 1]
    assert len(asked_again) == LINES_AT_ONCE
    assert max(questions.values()) == 2


SEND_TASK = """
import time
from api.batches import batch_states
from api.batches.create_batch import send_run_task
while not batch_states.has_claimable_batches():  # until the lease of the killed process ends
    time.sleep(0.1)
send_run_task()
"""
