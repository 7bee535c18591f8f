"""The official openai package as caller, a real gateway, and behind it the servers of
`third_party.py`.
"""

from collections.abc import Iterator

import openai
import pytest

from proxysite.tests.interop.third_party.third_party import (
    STARTS,
    TOKEN,
    ThirdParty,
    build_messages,
    retry_until_in_force,
)
from proxysite.tests.processes import Gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gateway"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.DefaultHttpxClient(trust_env=False) as http:
        key = gateway.issue_key("alice")
        yield openai.OpenAI(
            base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=30, http_client=http
        )


@pytest.fixture(scope="module", params=STARTS)
def third(
    request: pytest.FixtureRequest,
    gateway: Gateway,
    client: openai.OpenAI,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ThirdParty]:
    """A third-party server with the models that it lists, and one that it does not have."""
    name = request.param
    start, unknown_model = STARTS[name]
    program = start(tmp_path_factory.mktemp(name))
    try:
        party = ThirdParty(name, program, program.address(), unknown_model)
        gateway.provide(name, f"{party.url}/v1", f"{name}/not-there=gone", tokens=[TOKEN])
        report = gateway.manage("sync_models", name, "--prefix", f"{name}/")
        assert f"+ {party.model('talk')}" in report
        retry_until_in_force(
            lambda: client.chat.completions.create(
                model=party.model("talk"), messages=build_messages("hello")
            )
        )
        yield party
        program.stop()
    finally:
        program.kill()
