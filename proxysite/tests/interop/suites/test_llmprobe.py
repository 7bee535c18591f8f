"""llmprobe (npm), a suite that probes each endpoint of an OpenAI-compatible server, and checks what
it finds against the specification: a real gateway before an upstream that does what it is asked.

Without its tasks for a model's wits, which are no business of a gateway.
"""

import json
from typing import Any

import pytest

from proxysite.tests.interop.coding_agents.scripted_turns import run_program
from proxysite.tests.interop.suites.obedient_model import answer_like_a_model
from proxysite.tests.processes import npm_packages

pytestmark = pytest.mark.interop

# pictures and sound
ABSENT_SURFACES = frozenset(("images", "images-edit", "audio-speech", "audio-transcriptions"))
LEAST_PASSED = 40


@pytest.fixture
async def card(house, house_key, house_upstream, tmp_path) -> dict[str, Any]:
    """The report of one run."""
    house_upstream.set_default_script(answer_like_a_model)
    program = npm_packages("npm_clients", "install") / "node_modules" / ".bin" / "llmprobe"
    report = tmp_path / "card.json"
    options = ["--api-key", house_key, "--model", "m", "--no-bench", "--no-save", "--no-color"]
    # It would ask for thinking everywhere, and know its events by other names than OpenAI's. What
    # asks for thinking by itself is still checked.
    options += ["--reasoning", "default"]
    command = (program, f"{house.url}/v1", *options, "--save", report)
    # its exit status tells of the wits of the model too
    await run_program(tmp_path, {"HOME": str(tmp_path)}, *command, statuses=(0, 1, 2))
    return json.loads(report.read_text())


async def test_what_llmprobe_finds_conforms(card):
    results = card["conformance"]["results"]
    outcomes = {result["id"]: result["outcome"] for result in results}
    failures = {
        result["id"]: [failure["message"] for failure in result["failures"]]
        for result in results
        if result["outcome"] == "fail"
    }
    assert failures == {}
    passed = [name for name, outcome in outcomes.items() if outcome == "pass"]
    print(f"llmprobe: {len(passed)} checks passed: {', '.join(passed)}")  # noqa: T201
    assert card["conformance"]["passed"] == card["conformance"]["total"]
    assert len(passed) > LEAST_PASSED
    surfaces = {entry["id"] for entry in card["coverage"]["entries"] if entry["kind"] == "surface"}
    present = {entry["id"] for entry in card["coverage"]["entries"] if entry["supported"]}
    assert surfaces - present <= ABSENT_SURFACES
