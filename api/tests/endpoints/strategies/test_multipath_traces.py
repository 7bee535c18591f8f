"""Plan and candidates are noted in the trace of the request."""

import pytest

from api.tests.endpoints.strategies.multipath_answers import QUESTION, send_answer


@pytest.mark.parametrize("synthesis", ["model", "consensus"])
async def test_plan_and_candidates_are_noted_even_where_they_are_not_shown(
    gateway, upstream, alice, create_multipath_model, recorded_traces, synthesis
):
    await create_multipath_model(candidates=2, synthesis=synthesis)
    upstream.queue_scripts(
        send_answer("plan"), send_answer("draft A"), send_answer("draft B"), send_answer("Both.")
    )
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION)
    assert "candidates" not in answer.json
    (trace,) = recorded_traces
    noted = trace.strategy_result.thinking | {
        "candidates": sorted(trace.strategy_result.thinking["candidates"])
    }
    assert noted == {
        "framework": "plan",
        "candidates": ["draft A", "draft B"],
        "synthesis": synthesis,
    }


async def test_one_path_has_no_candidates_to_note(
    gateway, upstream, alice, create_multipath_model, recorded_traces
):
    await create_multipath_model(candidates=1, framework=True)
    upstream.queue_scripts(send_answer("plan"), send_answer("An answer."))
    await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION)
    assert recorded_traces[0].strategy_result.thinking == {
        "framework": "plan",
        "candidates": [],
        "synthesis": "",
    }
