"""Prompts that are too long are fitted or refused, as the request, its model or its tools say."""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

import pytest

from conversations.prompts.fit_prompt import PromptFitter
from conversations.prompts.long_texts import extract_question
from conversations.prompts.text_shortener import FitHelpers, TextShortener
from conversations.tests.prompts.prompt_bodies import ASKED, NOTES, WINDOW, system
from providers.database.database_threads import run_in_thread
from providers.filters.file_parts import TEXT_FIELD
from providers.models import ChatModel
from proxysite.testing.upstream import send_refusal

MESSAGES = [system(), ASKED]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


@pytest.fixture
async def set_model(gateway):
    """Give the model `m` a window and a policy."""

    async def set_fields(policy: str = "", window: int = WINDOW) -> None:
        await run_in_thread(ChatModel.objects.update, context_window=window, long_prompts=policy)
        await gateway.reload_rows()

    return set_fields


@pytest.mark.parametrize(
    ("policy", "fields", "is_refused"),
    [
        ("", {}, False),
        ("fit", {}, False),
        ("refuse", {}, True),
        ("", {"long_prompts": "refuse"}, True),
        ("refuse", {"long_prompts": "fit"}, False),
        ("", {"tools": TOOLS}, True),  # an agent keeps its instructions
        ("fit", {"tools": TOOLS}, False),
        ("", {"tools": TOOLS, "long_prompts": "fit"}, False),
        ("fit", {"tools": TOOLS, "long_prompts": "refuse"}, True),
    ],
)
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_a_prompt_that_is_too_long_is_fitted_or_refused(
    gateway, upstream, alice, set_model, policy, fields, is_refused, streams
) -> None:
    await set_model(policy)
    answer = await gateway.request_chat(alice.key, messages=MESSAGES, stream=streams, **fields)
    if is_refused:
        assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
        assert (answer.error["param"], answer.error["type"]) == (
            "messages",
            "invalid_request_error",
        )
        assert f"maximum context length is {WINDOW} tokens" in answer.error["message"]
        assert upstream.requests == []
    else:
        assert answer.status == 200
        sent = upstream.last_exchange.request.json
        assert "long_prompts" not in sent
        assert len(sent["messages"][0]["content"]) < len(NOTES)


@pytest.mark.parametrize(
    ("header", "fields", "status"),
    [
        ("refuse", {}, 400),
        (" Refuse ", {}, 400),
        ("fit", {"tools": TOOLS}, 200),
        ("refuse", {"long_prompts": "fit"}, 200),  # the body counts more
        ("fit", {"long_prompts": "refuse"}, 400),
    ],
)
async def test_a_header_says_so_for_clients_whose_body_cannot_be_changed(
    gateway, upstream, alice, set_model, header, fields, status
) -> None:
    await set_model()
    headers = {"X-Long-Prompts": header}
    chat = {"model": "m", "messages": MESSAGES, **fields}
    answer = await gateway.send_request(
        "POST", "/v1/chat/completions", alice.key, json=chat, headers=headers
    )
    assert answer.status == status
    response = {"model": "m", "input": MESSAGES, "store": False}
    response |= {name: value for name, value in fields.items() if name != "tools"}
    if "tools" not in fields:
        for path in ("/v1/responses", "/v1/responses/compact"):
            answer = await gateway.send_request(
                "POST", path, alice.key, json=response, headers=headers
            )
            assert answer.status == status, path


async def test_an_unknown_word_in_the_header_is_refused_by_its_name(gateway, alice) -> None:
    answer = await gateway.send_request(
        "POST",
        "/v1/chat/completions",
        alice.key,
        json={"model": "m", "messages": [ASKED]},
        headers={"X-Long-Prompts": "cut"},
    )
    assert (answer.status, answer.error["param"]) == (400, "X-Long-Prompts")
    assert answer.error["message"] == "X-Long-Prompts is fit or refuse."


@pytest.mark.parametrize("fields", [{"long_prompts": "refuse"}, {"tools": TOOLS}])
async def test_a_prompt_that_the_window_takes_is_sent_as_it_is(
    gateway, upstream, alice, set_model, fields
) -> None:
    await set_model(window=16_000)
    messages = [system(NOTES[:47_000]), ASKED]  # more than PROMPT_SHARE of the window
    answer = await gateway.request_chat(alice.key, messages=messages, **fields)
    assert answer.status == 200
    assert upstream.last_exchange.request.json["messages"] == messages


async def test_a_larger_window_is_asked_where_a_smaller_one_is_refused(
    gateway, upstream, alice, second, set_model
) -> None:
    """Two providers have the model: a prompt too long for one of them is not refused."""
    await set_model("refuse")
    large, provider = second
    await run_in_thread(
        lambda: provider.models.update(context_window=100_000, long_prompts="refuse")
    )
    await gateway.reload_rows()
    upstream.set_default_script(send_refusal(400, "Too long.", "context_length_exceeded"))
    answer = await gateway.request_chat(alice.key, messages=MESSAGES)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert large.last_exchange.request.json["messages"] == MESSAGES


async def test_files_of_an_agent_are_fitted_and_its_instructions_are_not(transactional_db) -> None:
    instructions = NOTES[:4_000]
    text = "The ferry of Oldham is late.\n\n" * 900
    file_part = {"type": "file", "file": {"filename": "a.txt"}, TEXT_FIELD: text}
    body = {
        "messages": [system(instructions), {"role": "user", "content": [file_part]}],
        "tools": TOOLS,
    }
    fitter = PromptFitter(body, WINDOW, TextShortener(None, {}, FitHelpers(), "Is it late?"))
    await fitter.require_room(body)
    fitted = await fitter.shorten_body(body)
    assert fitted is not None
    system_message, user_message = fitted.body["messages"]
    assert system_message["content"] == instructions
    assert len(user_message["content"][0][TEXT_FIELD]) < len(text) // 2


async def test_responses_take_the_field_too(gateway, upstream, alice, set_model) -> None:
    await set_model()
    body = {"model": "m", "instructions": NOTES, "input": "?", "long_prompts": "refuse"}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("wrong", ["shorten", 1, []])
async def test_another_value_is_refused_by_name(gateway, alice, wrong) -> None:
    answer = await gateway.request_chat(alice.key, long_prompts=wrong)
    assert (answer.status, answer.error["param"]) == (400, "long_prompts")


@pytest.mark.parametrize(
    ("before", "last"),
    [
        ("冯知秋是谁？", "他的真名呢？"),
        ("灯塔的密语在哪一章里出现？", "怎么打开？"),
        ("灯塔的密语在哪一章里出现？", "那第二章里呢？"),
        ("Who is Oldham's ferryman?", "And his real name?"),
        ("Who is Oldham's ferryman?", "Where does he live now?"),
    ],
)
def test_a_question_about_something_named_before_is_read_with_it(before: str, last: str) -> None:
    messages = [
        {"role": "user", "content": before},
        {"role": "assistant", "content": "…"},
        {"role": "user", "content": last},
    ]
    assert extract_question(messages) == f"{before}\n{last}"


@pytest.mark.parametrize(
    "last",
    [
        "灯塔的密语在哪一章里出现？",
        "第二次世界大战的起因是什么？",
        "When was the market of Oldham built?",
        "他在第二次世界大战之前住过的城市有哪些？",
    ],
)
def test_a_question_that_says_enough_stands_alone(last: str) -> None:
    messages = [{"role": "user", "content": "冯知秋是谁？"}, {"role": "user", "content": last}]
    assert extract_question(messages) == last
