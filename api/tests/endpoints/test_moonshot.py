"""Moonshot's and Kimi Code's own ways, from door to wire: usage, web search, files, errors,
checks.
"""

from base64 import b64encode

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, Provider
from proxysite.testing import rows, speech
from proxysite.testing.upstream import CUT, DONE, Gate, send_refusal, send_reply, send_stream

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
COUNTS = speech.token_usage(10, 5)
ARGUMENTS = '{"search_result":{"search_id":"s-1"},"usage":{"total_tokens":77}}'


@pytest.fixture
async def provider(upstream, transactional_db):
    def make():
        row = rows.create_provider(upstream.url, models=(), kind="moonshot")
        rows.create_model(row, "m")
        rows.create_model(row, "m-search", search="on")
        rows.create_model(row, "m-files", capabilities=["chat", "files"])
        return row

    return await run_in_thread(make)


def call(name, arguments, index=0, call_id="call_1", kind="function"):
    return {
        "index": index,
        "id": call_id,
        "type": kind,
        "function": {"name": name, "arguments": arguments},
    }


def searching(index=0, call_id="call_s"):
    return call("$web_search", ARGUMENTS, index, call_id, "builtin_function")


def search(content="", **more):
    """An answer that only calls the search."""
    begun = speech.chat_chunk({"role": "assistant", "content": content})
    return send_stream(
        begun, speech.chat_chunk({"tool_calls": [searching(**more)]}), ending("tool_calls"), DONE
    )


def ending(reason="stop", counts=COUNTS):
    """Moonshot's last chunk: the counts are in the choice."""
    last = speech.chat_chunk(finish=reason)
    last["choices"][0]["usage"] = counts
    return last


def said(answer):
    """What a caller got, however it came: text, calls, finish reason, usage."""
    if answer.headers["content-type"].startswith("application/json"):
        choice = answer.json["choices"][0]
        calls = [
            (c["function"]["name"], c["function"]["arguments"])
            for c in choice["message"].get("tool_calls", ())
        ]
        return answer.text, calls, choice["finish_reason"], answer.json["usage"]["total_tokens"]
    assert answer.is_complete
    roles = [
        event["choices"][0]["delta"].get("role") for event in answer.events if event["choices"]
    ]
    assert roles[0] == "assistant"
    assert not any(roles[1:])
    parts = [
        p for e in answer.events for c in e["choices"] for p in c["delta"].get("tool_calls", ())
    ]
    assert [p["index"] for p in parts] == list(range(len(parts)))
    calls = [(p["function"]["name"], p["function"]["arguments"]) for p in parts]
    (finish,) = answer.finish_reasons
    return answer.text, calls, finish, answer.events[-1]["usage"]["total_tokens"]


def asked(gateway, key, streams, **body):
    options = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
    return gateway.request_chat(key, **body, **options)


WAYS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


# --- usage and fields -----------------------------------------------------------------------------
async def test_usage_in_the_last_choice_is_the_upstreams_figure(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("Hi"), ending(counts=COUNTS | {"cached_tokens": 4}), DONE
        )
    )
    answer = await asked(gateway, alice.key, True)
    assert said(answer) == ("Hi", [], "stop", 15)
    assert all("usage" not in choice for event in answer.events for choice in event["choices"])
    row = await rows.read_only_usage_record()
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.estimated) == (
        10,
        5,
        4,
        False,
    )


async def test_partial_mode_and_moonshots_own_fields_go_through(gateway, upstream, alice):
    messages = [
        {"role": "user", "content": "Go on"},
        {"role": "assistant", "content": "{", "partial": True, "name": "x"},
    ]
    fields = {
        "messages": messages,
        "max_completion_tokens": 9,
        "thinking": {"type": "enabled", "keep": "all"},
    }
    assert (await gateway.request_chat(alice.key, **fields)).status == 200
    assert upstream.requests[0].json == fields | {"model": "upstream-model"}


async def test_images_at_web_addresses_are_refused_before_anything_is_sent(
    gateway, upstream, alice
):
    def parts(kind, given):
        return [{"role": "user", "content": [{"type": kind, kind: given}]}]

    for kind, given in (
        ("image_url", {"url": "https://example.org/a.png"}),
        ("image_url", "HTTP://example.org/a.png"),
        ("video_url", {"url": "http://example.org/a.mp4"}),
    ):
        answer = await gateway.request_chat(alice.key, messages=parts(kind, given))
        assert (answer.status, answer.error["param"]) == (400, "messages")
    assert upstream.requests == []
    for url in ("data:image/png;base64,AAAA", "ms://file-1"):
        assert (
            await gateway.request_chat(alice.key, messages=parts("image_url", {"url": url}))
        ).status == 200


# --- web search -----------------------------------------------------------------------------------
@WAYS
async def test_the_search_is_answered_here_and_the_caller_sees_one_answer(
    gateway, upstream, alice, streams
):
    upstream.queue_scripts(
        search("Let me look. "),
        search("", call_id="call_t"),
        send_stream(*speech.content_chunks("It", " rains."), ending(), DONE),
    )
    answer = await asked(gateway, alice.key, streams, model="m-search")
    assert said(answer) == ("Let me look. It rains.", [], "stop", 45)
    assert b"web_search" not in answer.body
    first, second, third = (request.json for request in upstream.requests)
    for sent in (first, second, third):
        assert sent["tools"] == [{"type": "builtin_function", "function": {"name": "$web_search"}}]
        assert sent["thinking"] == {"type": "disabled"}
    mine = {
        "id": "call_s",
        "type": "builtin_function",
        "function": {"name": "$web_search", "arguments": ARGUMENTS},
    }
    assert second["messages"][-2:] == [
        {"role": "assistant", "content": "Let me look. ", "tool_calls": [mine]},
        {"role": "tool", "tool_call_id": "call_s", "name": "$web_search", "content": ARGUMENTS},
    ]
    assert third["messages"][:-2] == second["messages"]
    row = await rows.read_only_usage_record()
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (30, 15, False)


@WAYS
async def test_arguments_that_come_in_pieces_go_back_whole(gateway, upstream, alice, streams):
    pieces = [searching() | {"function": {"name": "$web_search", "arguments": ARGUMENTS[:9]}}]
    rest = [{"index": 0, "function": {"arguments": ARGUMENTS[9:]}}]
    upstream.queue_scripts(
        send_stream(
            speech.chat_chunk({"tool_calls": pieces}),
            speech.chat_chunk({"tool_calls": rest}),
            ending("tool_calls"),
            DONE,
        ),
        send_stream(*speech.content_chunks("Yes."), ending(), DONE),
    )
    assert said(await asked(gateway, alice.key, streams, model="m-search")) == (
        "Yes.",
        [],
        "stop",
        30,
    )
    assert upstream.requests[1].json["messages"][-1]["content"] == ARGUMENTS


@WAYS
async def test_a_call_of_the_callers_own_function_ends_the_turn(gateway, upstream, alice, streams):
    upstream.queue_scripts(
        send_stream(
            speech.chat_chunk({"tool_calls": [searching(), call("weather", "{}", 1)]}),
            ending("tool_calls"),
            DONE,
        )
    )
    answer = await asked(gateway, alice.key, streams, model="m-search", tools=[WEATHER])
    text, *rest = said(answer)
    assert rest == [[("weather", "{}")], "tool_calls", 15]
    assert text == ("" if streams else "None")
    assert len(upstream.requests) == 1
    assert upstream.requests[0].json["tools"][0] == WEATHER


async def test_a_caller_who_brings_the_search_along_answers_it_himself(gateway, upstream, alice):
    own = {"type": "builtin_function", "function": {"name": "$web_search"}}
    message = {"tool_calls": [searching()]}
    upstream.queue_scripts(
        send_reply(speech.chat_completion(None, finish="tool_calls", message=message))
    )
    answer = await gateway.request_chat(alice.key, model="m-search", tools=[own])
    assert (
        answer.json["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == ARGUMENTS
    )
    assert upstream.requests[0].json["tools"] == [own]
    assert len(upstream.requests) == 1


@WAYS
async def test_after_five_searches_the_model_has_to_speak(gateway, upstream, alice, streams):
    upstream.queue_scripts(
        *[search()] * 5, send_stream(*speech.content_chunks("Enough."), ending(), DONE)
    )
    assert said(await asked(gateway, alice.key, streams, model="m-search"))[0] == "Enough."
    choices = [request.json.get("tool_choice") for request in upstream.requests]
    assert choices == [None] * 5 + ["none"]


async def test_a_model_that_never_stops_searching_is_given_up(gateway, upstream, alice):
    upstream.set_default_script(search())
    answer = await gateway.request_chat(alice.key, model="m-search")
    assert answer.status == 502
    assert len(upstream.requests) % 6 == 0


async def test_an_error_while_searching_is_answered_by_another_token(
    gateway, upstream, alice, provider
):
    await run_in_thread(rows.create_tokens, provider, "sk-up-2")
    await gateway.reload_rows()
    limited = send_refusal(429, "Slow down.", kind="rate_limit_reached_error")
    upstream.queue_scripts(
        search(), limited, search(), send_stream(*speech.content_chunks("Done."), ending(), DONE)
    )
    answer = await asked(gateway, alice.key, True, model="m-search")
    assert said(answer)[0] == "Done."
    bearers = [request.bearer_token for request in upstream.requests]
    assert bearers[0] == bearers[1] != bearers[2] == bearers[3]


async def test_words_reach_the_caller_while_the_model_still_searches(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("Looking"),
            gate,
            speech.chat_chunk({"tool_calls": [searching()]}),
            ending("tool_calls"),
            DONE,
        ),
        send_stream(*speech.content_chunks("Found"), ending(), DONE),
    )
    async with gateway.open_stream(alice.key, model="m-search") as reading:
        await reading.read_until("Looking")
        gate.open()
        assert (await reading.read_rest()).text == "LookingFound"


async def test_a_search_that_breaks_off_ends_the_stream_with_an_error(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(*speech.content_chunks("Looking"), CUT))
    async with gateway.open_stream(alice.key, model="m-search") as reading:
        answer = await reading.read_rest()
    assert answer.stream_error["code"] == "upstream_disconnected"


async def test_usage_is_an_estimate_when_one_of_the_searches_gave_none(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            speech.chat_chunk({"tool_calls": [searching()]}),
            speech.chat_chunk(finish="tool_calls"),
            DONE,
        ),
        send_stream(*speech.content_chunks("Yes."), ending(), DONE),
    )
    await gateway.request_chat(alice.key, model="m-search")
    assert (await rows.read_only_usage_record()).estimated


async def test_several_choices_cannot_search(gateway, upstream, alice):
    answer = await gateway.request_chat(alice.key, model="m-search", n=2)
    assert (answer.status, answer.error["param"]) == (400, "n")
    assert upstream.requests == []


# --- files ----------------------------------------------------------------------------------------
def part(data=b"%PDF-1.7 any", filename='a "b".pdf'):
    url = f"data:application/pdf;base64,{b64encode(data).decode()}"
    return {"type": "file", "file": {"filename": filename, "file_data": url}}


def with_file(*parts):
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "?"}, *parts]},
    ]


ENTRY = {"id": "file_abc-1", "object": "file", "bytes": 3, "status": "ok", "status_details": ""}
TEXT = '{"content":"The text.","file_type":"application/pdf"}'


async def test_a_file_is_read_by_moonshot_and_deleted_there(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(ENTRY), send_reply(TEXT.encode()))

    async def rest(exchange):
        deleting = exchange.request.method == "DELETE"
        await send_reply({"deleted": True} if deleting else speech.chat_completion("Read."))(
            exchange
        )

    upstream.set_default_script(rest)
    answer = await gateway.request_chat(alice.key, model="m-files", messages=with_file(part()))
    assert answer.text == "Read."
    await upstream.wait_for_request(4)
    upload, content, *others = upstream.requests
    assert (upload.method, upload.path, upload.bearer_token) == ("POST", "/v1/files", "sk-up-1")
    kind, _, boundary = upload.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    assert upload.body.startswith(f"--{boundary}\r\n".encode())
    assert upload.body.endswith(f"\r\n--{boundary}--\r\n".encode())
    assert b'name="purpose"\r\n\r\nfile-extract\r\n' in upload.body
    assert b'name="file"; filename="a %22b%22.pdf"\r\n' in upload.body
    assert b"\r\n\r\n%PDF-1.7 any\r\n" in upload.body
    assert (content.method, content.path) == ("GET", "/v1/files/file_abc-1/content")
    chat = next(request for request in others if request.method == "POST")
    gone = next(request for request in others if request.method == "DELETE")
    assert gone.path == "/v1/files/file_abc-1"
    system, text, user = chat.json["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert text == {"role": "system", "content": TEXT}
    assert [piece["type"] for piece in user["content"]] == ["text", "text"]
    assert 'a "b".pdf' in user["content"][1]["text"]


async def test_a_file_that_moonshot_cannot_read_is_the_callers_fault_and_deleted(
    gateway, upstream, alice
):
    upstream.set_default_script(send_reply({"deleted": True}))
    upstream.queue_scripts(send_reply(ENTRY | {"status": "error", "status_details": "No text."}))
    answer = await gateway.request_chat(alice.key, model="m-files", messages=with_file(part()))
    assert (answer.status, answer.error["message"]) == (400, "No text.")
    assert (await upstream.wait_for_request(2)).request.method == "DELETE"
    upstream.queue_scripts(send_refusal(400, "Unsupported file.", kind="invalid_request_error"))
    answer = await gateway.request_chat(alice.key, model="m-files", messages=with_file(part()))
    assert (answer.status, answer.error["message"]) == (400, "Unsupported file.")
    assert not any(request.path.endswith("completions") for request in upstream.requests)


@pytest.mark.parametrize(
    "entry", [b"no json", {}, [], {"id": 7}, {"id": "../../users/me"}, {"id": ""}]
)
async def test_an_upload_whose_answer_cannot_be_used_is_a_bad_answer(
    gateway, upstream, alice, entry
):
    upstream.set_default_script(send_reply(entry))
    answer = await gateway.request_chat(alice.key, model="m-files", messages=with_file(part()))
    assert (answer.status, answer.error["code"]) == (502, "bad_upstream_response")
    assert {(request.method, request.path) for request in upstream.requests} == {
        ("POST", "/v1/files")
    }


async def test_a_rejected_upload_is_tried_with_another_token(gateway, upstream, alice, provider):
    await run_in_thread(rows.create_tokens, provider, "sk-up-2")
    await gateway.reload_rows()

    async def serve(exchange):
        request = exchange.request
        answers = {
            ("POST", "/v1/files"): send_reply(ENTRY),
            ("POST", "/v1/chat/completions"): send_reply(speech.chat_completion("Ok.")),
        }
        if request.bearer_token == "sk-up-1":
            return await send_refusal(401, kind="invalid_authentication_error")(exchange)
        return await answers.get((request.method, request.path), send_reply(b"text"))(exchange)

    upstream.set_default_script(serve)
    assert (
        await gateway.request_chat(alice.key, model="m-files", messages=with_file(part()))
    ).text == "Ok."


# --- errors ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "kind", "shown", "state", "strikes"),
    [
        (401, "invalid_authentication_error", (503, "no_available_token"), "active", 1),
        (401, "incorrect_api_key_error", (503, "no_available_token"), "active", 1),
        (403, "permission_denied_error", (429, "rate_limit_exceeded"), "exhausted", 0),
        (429, "exceeded_current_quota_error", (429, "rate_limit_exceeded"), "exhausted", 0),
        (429, "rate_limit_reached_error", (429, "rate_limit_exceeded"), "active", 0),
        (429, "engine_overloaded_error", (502, "upstream_failed"), "active", 0),
        (400, "content_filter", (400, "invalid_value"), "active", 0),
        (400, "invalid_request_error", (400, "invalid_value"), "active", 0),
        (404, "resource_not_found_error", (404, "model_not_found"), "active", 0),
        (500, "server_error", (502, "upstream_failed"), "active", 0),
    ],
)
@pytest.mark.settings(MAX_ATTEMPTS=1)
async def test_what_moonshots_errors_mean(
    gateway, upstream, alice, token, status, kind, shown, state, strikes
):
    upstream.queue_scripts(send_reply({"error": {"type": kind, "message": "No."}}, status))
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == shown
    found = await gateway.read_token_row(token)
    assert (found.state, found.strikes) == (state, strikes)


@pytest.mark.parametrize(
    ("status", "message", "shown", "state", "strikes"),
    [
        (401, "Invalid key.", 503, "active", 1),
        (402, "Membership required.", 429, "exhausted", 0),
        (403, "You've reached the usage limit of this billing cycle.", 429, "exhausted", 0),
        (403, "Concurrent request limit reached.", 429, "active", 0),
        (403, "Only available for Coding Agents.", 502, "active", 0),
        (403, "Not yours.", 503, "active", 1),
        (429, "Slow down.", 429, "active", 0),
        (400, "The body is too large.", 400, "active", 0),
    ],
)
@pytest.mark.settings(MAX_ATTEMPTS=1)
async def test_what_kimi_codes_errors_mean(
    gateway, upstream, alice, provider, token, status, message, shown, state, strikes
):
    await run_in_thread(Provider.objects.update, kind="kimi_code")
    await gateway.reload_rows()
    upstream.queue_scripts(
        send_reply({"error": {"type": "permission_error", "message": message}}, status)
    )
    assert (await gateway.request_chat(alice.key)).status == shown
    found = await gateway.read_token_row(token)
    assert (found.state, found.strikes) == (state, strikes)


async def test_kimi_code_is_asked_by_who_asks(gateway, upstream, alice, provider):
    def change():
        Provider.objects.update(kind="kimi_code")
        ChatModel.objects.filter(public_id="m").update(options={"thinking": True})

    await run_in_thread(change)
    await gateway.reload_rows()
    upstream.queue_scripts(send_stream(*speech.content_chunks("Hi"), ending(), DONE))
    answer = await asked(gateway, alice.key, True, temperature=0.1)
    assert said(answer) == ("Hi", [], "stop", 15)
    sent = upstream.requests[0]
    assert sent.headers["user-agent"] == "proxysite"
    assert sent.json["thinking"] is True
    assert "temperature" not in sent.json
