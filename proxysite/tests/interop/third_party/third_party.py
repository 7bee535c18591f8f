"""Servers that other people wrote, as upstreams.

aimock    a mock of OpenAI's API on Node, by CopilotKit: text, tools, embeddings, faults; refuses
          unknown tokens
litellm   the gateway LiteLLM with canned answers: its streams, its errors
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import openai
import pytest

from proxysite.tests.processes import Program, npm_packages, patiently, pip_programs, surroundings

Answer = TypeVar("Answer")
TOKEN = "sk-the-upstreams-own"
SAID = "It is said, word by word: ünïcode, 日本語 and a\nnew line."
SMILE = "What 🙂 means: 🙂🙂🙂🙂."


@dataclass
class ThirdParty:
    """A running third-party server; its models are offered as `{name}/…`."""

    name: str
    program: Program
    url: str
    unknown_model: type[openai.APIStatusError]  # what it says of a model that it does not have

    def model(self, name: str) -> str:
        return f"{self.name}/{name}"


def build_aimock_fixtures() -> list[dict[str, Any]]:
    """What aimock answers to whom; the first that matches counts."""

    def on(match: dict[str, Any], response: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"match": {"endpoint": "chat"} | match, "response": response, "chunkSize": 5} | more

    unknown = {
        "message": "The model `gone` does not exist",
        "type": "invalid_request_error",
        "code": "model_not_found",
    }
    limited = {"message": "Slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}
    refused = {
        "message": "temperature must be at most 2",
        "type": "invalid_request_error",
        "param": "temperature",
    }
    calls = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Zürich", "東京")]
    return [
        on({"model": "gone"}, {"error": unknown, "status": 404}),
        on({"model": "limited"}, {"error": limited, "status": 429, "retryAfter": 30}),
        on({"model": "breaks"}, {"content": SAID}, latency=20, truncateAfterChunks=4),
        on({"userMessage": "too hot"}, {"error": refused, "status": 400}),
        on({"userMessage": "smile"}, {"content": SMILE}),
        on({"userMessage": "weather", "hasToolResult": False}, {"toolCalls": calls}),
        on({"userMessage": "weather", "hasToolResult": True}, {"content": "It rains."}),
        on(
            {"responseFormat": "json_schema"},
            {"content": json.dumps({"name": "Zürich", "people": 443000})},
        ),
        on({"model": "talk"}, {"content": SAID}),
        {
            "match": {"endpoint": "embedding", "model": "vectors", "inputText": "fixed"},
            "response": {"embedding": [0.5, -1.0, 0.25]},
        },
    ]


def start_aimock(folder: Path) -> Program:
    fixtures = folder / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": build_aimock_fixtures()}), encoding="utf-8")
    script = npm_packages() / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    command = [
        "node",
        script,
        "--port",
        "0",
        "--strict",
        "--validate-on-load",
        "--fixtures",
        fixtures,
    ]
    return Program(command, folder / "aimock.log", surroundings(AIMOCK_API_KEYS=TOKEN), folder)


def start_litellm(folder: Path) -> Program:
    def model(name: str, mock_response: Any) -> dict[str, Any]:
        parameters = {
            "model": f"openai/{name}",
            "api_key": "unused",
            "mock_response": mock_response,
        }
        return {"model_name": name, "litellm_params": parameters}

    config = {
        "model_list": [
            model("talk", SAID),
            model("smile", SMILE),
            model("limited", "litellm.RateLimitError"),
            model("text-embedding-3-small", [0.5, -1.0, 0.25]),
        ],
        "general_settings": {"master_key": TOKEN},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")  # JSON is YAML
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HOME": str(folder)}
    command = [
        pip_programs("litellm") / "litellm",
        "--config",
        file,
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    return Program(command, folder / "litellm.log", surroundings(**offline), folder)


STARTS: dict[str, tuple[Callable[[Path], Program], type[openai.APIStatusError]]] = {
    "aimock": (start_aimock, openai.NotFoundError),
    "litellm": (start_litellm, openai.BadRequestError),
}
# LiteLLM's canned answers are texts
only_aimock = pytest.mark.parametrize("third", ["aimock"], indirect=True)


def build_messages(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def retry_until_in_force(ask: Callable[[], Answer]) -> Answer:
    """Ask until a running gateway knows of the rows that were added beside it, which is promised
    within a second.
    """

    def attempt() -> list[Answer]:
        try:
            return [ask()]
        except openai.APIStatusError as error:
            if error.code not in ("model_not_found", "no_available_token"):
                raise
            return []

    return patiently(attempt, "new rows in force")[0]
