"""Long prompts over HTTP: what the upstream is told, what summaries cost, and that nothing stays of
a deleted file.
"""

import asyncio

import pytest

from conversations.documents import ingest
from conversations.models import Document, Passage
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, send_refusal, send_reply, send_stream

NOTES = "Answer from these notes alone.\n\n" + "".join(
    (
        f"Note {n}: the {('ferry', 'bridge', 'tower', 'market')[n % 4]} of canary town says "
        f"{'abcdefghij'[n % 10]}.\n\n"
    )
    for n in range(900)
)
WINDOW = 4_000
QUESTION = {"role": "user", "content": "Which note tells of the market?"}
SUMMARY = send_reply(speech.chat_completion("In short.", usage=speech.token_usage(40, 4)))


@pytest.fixture
async def windowed(gateway):
    """The model `m` has a window, and `short-m` is the same with summaries."""
    await run_in_thread(ChatModel.objects.filter(public_id="m").update, context_window=WINDOW)
    await run_in_thread(lambda: rows.create_virtual_model("short-m", "m", "direct", summarise=True))
    await gateway.reload_rows()


def told(upstream):
    return upstream.last_exchange.request.json["messages"]


async def chat(gateway, person, **more):
    return await gateway.request_chat(
        person.key, messages=[{"role": "system", "content": NOTES}, QUESTION], **more
    )


# --- summaries ------------------------------------------------------------------------------------
@pytest.mark.usefixtures("windowed")
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_summaries_cost_is_in_the_answer_and_in_the_ledger(
    gateway, upstream, alice, streamed
):
    last = (
        send_stream(*speech.streamed_completion("Note 3."), DONE)
        if streamed
        else send_reply(speech.chat_completion("Note 3."))
    )

    async def script(exchange):
        summary = exchange.request.json.get("max_tokens") == 200
        await (SUMMARY if summary else last)(exchange)

    upstream.set_default_script(script)
    more = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
    answer = await chat(gateway, alice, model="short-m", **more)
    assert (answer.status, answer.text) == (200, "Note 3.")
    asked_for = len(upstream.requests) - 1
    assert asked_for >= 4
    assert "In short." in told(upstream)[0]["content"]
    usage = answer.events[-1]["usage"] if streamed else answer.json["usage"]
    expected = (9 + 40 * asked_for, 3 + 4 * asked_for)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == expected
    row = await rows.read_only_usage_record()
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (*expected, False)
    assert len(row.attempts) == asked_for + 1


@pytest.mark.usefixtures("windowed")
async def test_what_no_upstream_counts_is_guessed_beside_what_summaries_cost(
    gateway, upstream, alice
):
    async def script(exchange):
        summary = exchange.request.json.get("max_tokens") == 200
        await (SUMMARY if summary else send_reply(speech.chat_completion("Note 3.", usage=None)))(
            exchange
        )

    upstream.set_default_script(script)
    assert (await chat(gateway, alice, model="short-m")).status == 200
    row = await rows.read_only_usage_record()
    assert row.estimated
    assert row.prompt_tokens > 40 * (len(upstream.requests) - 1) + 1_000


@pytest.mark.usefixtures("windowed")
async def test_summaries_that_fail_leave_an_answer_and_are_not_kept(gateway, upstream, alice):
    async def script(exchange):
        summary = exchange.request.json.get("max_tokens") == 200
        await (
            send_refusal(400, "Too odd.")
            if summary
            else send_reply(speech.chat_completion("Note 3."))
        )(exchange)

    upstream.set_default_script(script)
    answer = await chat(gateway, alice, model="short-m")
    assert (answer.status, answer.text) == (200, "Note 3.")
    assert len(upstream.requests) <= 5
    assert "Note 3:" in told(upstream)[0]["content"]
    assert await run_in_thread(Document.objects.filter(state="ingested").count) == 1
    upstream.set_default_script(SUMMARY)
    assert (await chat(gateway, alice, model="short-m")).status == 200
    assert await run_in_thread(Document.objects.filter(state="ingested").count) == 2


@pytest.mark.usefixtures("windowed")
async def test_summaries_are_asked_for_a_few_at_a_time(gateway, upstream, alice):
    together, most = 0, 0

    async def script(exchange):
        nonlocal together, most
        if exchange.request.json.get("max_tokens") == 200:
            together += 1
            most = max(most, together)
            await asyncio.sleep(0.01)
            together -= 1
        await SUMMARY(exchange)

    upstream.set_default_script(script)
    assert (await chat(gateway, alice, model="short-m")).status == 200
    assert 2 <= most <= 4


# --- the window -----------------------------------------------------------------------------------
@pytest.mark.usefixtures("windowed")
async def test_the_answer_has_its_room_in_the_window(gateway, upstream, alice):
    text = NOTES[:9_000]  # they fit, unless the answer wants half of the window
    messages = [{"role": "system", "content": text}, QUESTION]
    await gateway.request_chat(alice.key, messages=messages)
    assert told(upstream) == messages
    await gateway.request_chat(alice.key, messages=messages, max_tokens=2_000)
    assert 4_000 < len(told(upstream)[0]["content"]) < 8_000


@pytest.mark.usefixtures("windowed")
async def test_a_caller_whose_texts_are_not_kept_waits_in_his_own_line(gateway, alice, monkeypatch):
    given = []

    async def take_in(user_id, text, splitting, **more):
        given.append((user_id, more["queue"]))
        return await taken_in(user_id, text, splitting, **more)

    taken_in = ingest.ingest_text
    monkeypatch.setattr(ingest, "ingest_text", take_in)
    alice.row.stores_content = False
    await run_in_thread(alice.row.save)
    await gateway.reload_rows()
    assert (await chat(gateway, alice)).status == 200
    assert given == [(None, alice.user.pk)]


# --- files ----------------------------------------------------------------------------------------
@pytest.mark.usefixtures("windowed")
@pytest.mark.parametrize("model", ["m", "short-m"])
async def test_of_a_deleted_file_nothing_is_left(gateway, upstream, alice, model):
    upstream.set_default_script(
        send_reply(speech.chat_completion("In short, canary town.", usage=speech.token_usage()))
    )
    sent = {"file": ("notes.txt", NOTES.encode(), "text/plain")}
    file_id = (await gateway.send_request("POST", "/v1/files/upload", alice.key, files=sent)).json[
        "file_id"
    ]
    parts = [
        {"type": "text", "text": QUESTION["content"]},
        {"type": "file", "file": {"file_id": file_id}},
    ]
    answer = await gateway.request_chat(
        alice.key, model=model, messages=[{"role": "user", "content": parts}], conversation_id="c"
    )
    assert answer.status == 200, answer.body
    assert "canary" in str(told(upstream))
    assert file_id not in str(told(upstream))
    assert await run_in_thread(Document.objects.count) == (1 if model == "m" else 2)
    assert (await gateway.send_request("DELETE", f"/v1/files/{file_id}", alice.key)).status == 200
    assert not await run_in_thread(Document.objects.exists)
    assert not await run_in_thread(Passage.objects.filter(text__contains="canary").exists)


@pytest.mark.usefixtures("windowed")
async def test_a_file_deleted_while_it_is_summarised_leaves_nothing(gateway, upstream, alice):
    sent = {"file": ("notes.txt", NOTES.encode(), "text/plain")}
    file_id = (await gateway.send_request("POST", "/v1/files/upload", alice.key, files=sent)).json[
        "file_id"
    ]
    parts = [
        {"type": "text", "text": QUESTION["content"]},
        {"type": "file", "file": {"file_id": file_id}},
    ]
    messages = [{"role": "user", "content": parts}]
    upstream.queue_scripts(*[slowly] * 4)
    upstream.set_default_script(SUMMARY)
    chatting = asyncio.create_task(
        gateway.request_chat(alice.key, model="short-m", messages=messages)
    )
    await upstream.wait_for_request()
    assert (await gateway.send_request("DELETE", f"/v1/files/{file_id}", alice.key)).status == 200
    upstream.gate.open()
    assert (await chatting).status == 200
    assert not await run_in_thread(Passage.objects.exists)
    assert not await run_in_thread(Document.objects.exists)


async def slowly(exchange):
    await exchange.gate.wait_until_open()
    await SUMMARY(exchange)
