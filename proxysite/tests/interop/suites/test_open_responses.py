"""The acceptance suite of Open Responses: a real gateway before an upstream that does what it is
asked.

The suite is in no package registry. The test runs on a checkout of openresponses/openresponses that
`OPEN_RESPONSES_SUITE` names. An older checkout has no cases over WebSocket or of compaction.
"""

import json
import os
from pathlib import Path

import pytest

from proxysite.tests.interop.coding_agents.scripted_turns import run_program
from proxysite.tests.interop.suites.obedient_model import answer_like_a_model
from proxysite.tests.processes import npm_packages

pytestmark = pytest.mark.interop

SHIM = "node_websocket.mjs"
HTTP_CASES = {"basic-response", "streaming-response", "system-prompt", "tool-calling"} | {
    "image-input",
    "multi-turn",
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder in which the suite runs with the packages that the lock names."""
    checkout = os.environ.get("OPEN_RESPONSES_SUITE")
    if not checkout:
        pytest.skip("needs a checkout of openresponses/openresponses: OPEN_RESPONSES_SUITE")
    folder = tmp_path / "suite"
    folder.mkdir()
    for name in ("bin", "src"):
        (folder / name).symlink_to(Path(checkout).resolve() / name)
    packages = npm_packages("npm_clients", "install")
    (folder / "node_modules").symlink_to(packages / "node_modules")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / SHIM).symlink_to(packages / SHIM)
    return folder


async def test_the_cases_of_open_responses_pass(suite, house, house_key, house_upstream):
    house_upstream.set_default_script(answer_like_a_model)
    imports = ("--import", "tsx", "--import", f"./{SHIM}")
    script = ("node", "--preserve-symlinks", "--preserve-symlinks-main", *imports)
    options = ("--base-url", f"{house.url}/v1", "--api-key", house_key, "--model", "m", "--json")
    command = (*script, "bin/compliance-test.ts", *options)
    output = await run_program(suite, {"HOME": str(suite)}, *command, statuses=(0, 1))
    results = json.loads(output[output.index("{") :])["results"]
    assert {case["id"]: case["errors"] for case in results if case["status"] != "passed"} == {}
    passed = {case["id"] for case in results}
    print(f"Open Responses: passed {', '.join(sorted(passed))}")  # noqa: T201
    assert passed >= HTTP_CASES
