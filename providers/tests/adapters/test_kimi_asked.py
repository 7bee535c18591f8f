"""What Kimi's two web interfaces are asked: the question as a row wants it, checks, refreshes."""

from datetime import UTC, datetime
from typing import Any

import pytest

from providers import catalogue
from providers.exceptions import (
    AuthRejected,
    BadResponse,
    UpstreamTimeout,
)
from providers.models import Provider
from providers.tests.kimi_asking import Asking
from providers.tests.kimi_site import (
    EXPIRES,
    jwt,
)
from proxysite.testing.upstream import keep_silent, send_reply


# --- what a row asks for --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("search", "options", "expected"),
    [
        ("on", {}, True),
        ("off", {}, False),
        ("", {}, True),
        ("", {"use_search": False}, False),
        ("on", {"use_search": False}, True),
        ("off", {"use_search": True}, False),
    ],
)
async def test_search_is_the_callers_then_the_rows_and_else_on(
    asking: Asking, search: str, options: dict[str, Any], expected: bool
) -> None:
    await asking.answer(model={"search": search, "options": options})
    [asked] = asking.site.questions
    if asking.kind == "kimi_web":
        assert asked["tools"] == ([{"type": "TOOL_TYPE_SEARCH", "search": {}}] if expected else [])
    else:
        assert asked["use_search"] is expected


async def test_the_question_of_the_present_interface_is_the_rows(web: Asking) -> None:
    await web.answer()
    options = {
        "scenario": "SCENARIO_OK_COMPUTER",
        "options": {"thinking": True, "reasoning_effort": "REASONING_EFFORT_HIGH"},
        "search": {"force": True},
        "extra": {"kimiplus_id": "ok-computer"},
    }
    await web.answer(model={"options": options})
    plain, special = web.site.questions
    block = {"message_id": "", "text": {"content": "How high is it?"}}
    search = [{"type": "TOOL_TYPE_SEARCH", "search": {}}]
    assert plain == {
        "scenario": "UPSTREAM",
        "tools": search,
        "message": {"role": "user", "blocks": [block], "scenario": "UPSTREAM"},
        "options": {"thinking": False},
    }
    assert (special["scenario"], special["message"]["scenario"]) == ("SCENARIO_OK_COMPUTER",) * 2
    assert special["options"] == options["options"]
    assert special["tools"][0]["search"] == {"force": True}
    assert special["kimiplus_id"] == "ok-computer"


async def test_the_question_of_the_older_interface_is_the_rows(rest: Asking) -> None:
    agent = "a1b2c3d4e5f6g7h8i9j0"
    await rest.answer(
        model={"options": {"kimiplus_id": agent, "use_research": True, "extra": {"use_math": True}}}
    )
    [created], [asked] = rest.site.created, rest.site.questions
    assert created == {
        "name": "New chat",
        "born_from": "home",
        "kimiplus_id": agent,
        "is_example": False,
        "source": "web",
        "tags": [],
    }
    assert asked == {
        "path": "api/chat/chat1/completion/stream",
        "model": "UPSTREAM",
        "messages": [{"role": "user", "content": "How high is it?"}],
        "kimiplus_id": agent,
        "extend": {"sidebar": True},
        "refs": [],
        "history": [],
        "scene_labels": [],
        "use_semantic_memory": False,
        "use_deep_research": False,
        "use_research": True,
        "use_math": True,
        "use_search": True,
    }


# --- beside the path ------------------------------------------------------------------------------
async def test_a_check_asks_and_believes(asking: Asking) -> None:
    await asking.adapter.probe_credential(asking.credential)
    asking.upstream.queue_scripts(asking.fails("unauthenticated", 401))
    with pytest.raises(AuthRejected):
        await asking.adapter.probe_credential(asking.credential)
    asking.upstream.queue_scripts(asking.fails("auth.token.invalid", 200), send_reply([]))
    with pytest.raises(AuthRejected):
        await asking.adapter.probe_credential(asking.credential)
    with pytest.raises(BadResponse):
        await asking.adapter.probe_credential(asking.credential)


async def test_a_refresh_brings_a_new_pair_and_the_old_one_is_void(asking: Asking) -> None:
    first = asking.site.refresh_token
    fresh = await asking.adapter.refresh_credential(first)
    assert fresh.refresh_token == asking.site.refresh_token != first
    assert fresh.expires_at == datetime.fromtimestamp(EXPIRES, UTC)
    assert asking.upstream.requests[0].bearer_token == first
    with pytest.raises(AuthRejected):
        await asking.adapter.refresh_credential(first)
    assert (await asking.adapter.refresh_credential(fresh.refresh_token)).secret != fresh.secret


@pytest.mark.parametrize("status", [400, 401])
async def test_a_refresh_token_that_is_refused_is_refused(asking: Asking, status: int) -> None:
    asking.upstream.queue_scripts(send_reply({"error_type": "whatever", "message": "No."}, status))
    with pytest.raises(AuthRejected):
        await asking.adapter.refresh_credential(jwt(kind="refresh"))


@pytest.mark.parametrize(
    "body", [{}, [], {"access_token": ""}, {"access_token": "a\nb"}, {"access_token": 5}], ids=str
)
async def test_a_refresh_without_a_token_is_a_bad_response(asking: Asking, body: Any) -> None:
    asking.upstream.queue_scripts(send_reply(body))
    with pytest.raises(BadResponse):
        await asking.adapter.refresh_credential(jwt(kind="refresh"))


async def test_there_is_no_list_of_models(asking: Asking) -> None:
    with pytest.raises(BadResponse, match="add_model"):
        await asking.adapter.list_model_ids(asking.credential)


async def test_the_upstream_that_says_nothing_is_waited_for_so_long(asking: Asking) -> None:
    asking.adapter.upstream = catalogue.make_upstream(
        Provider(
            pk=1,
            name="p",
            kind=asking.kind,
            base_url=asking.upstream.url,
            allow_private=True,
            first_byte_seconds=0.05,
        )
    )
    asking.will(keep_silent)
    with pytest.raises(UpstreamTimeout):
        await asking.answer()
