"""Answers of every endpoint, checked against OpenAI's official OpenAPI description.

The description is in no package registry. The test runs on the `openapi.yaml` or `openapi.json` of
openai/openai-openapi that `OPENAI_DESCRIPTION` names, and needs the package `jsonschema`.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.tests.endpoints.files.file_requests import upload_file
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, send_reply, send_stream

pytestmark = pytest.mark.interop

QUESTION = [{"role": "user", "content": "Hello!"}]
# Where the schema contradicts the examples of the same description, the examples are followed:
# - A response that has not ended has `usage: null` in all examples of its events. The suite of Open
#   Responses demands the field, so it cannot be absent instead.
# - In the example of a streamed legacy completion every chunk but the last has
#   `finish_reason: null`; the field is required. OpenAI's chunk with the usage has no choice.
# - The example of a stored completion's messages has the role `user`: they are the messages of the
#   request, though the schema is that of an answer.
REASONED_EXCEPTIONS = {
    ("ResponseStreamEvent", "response.usage"),
    ("Response", "usage"),
    ("CreateCompletionResponse", "choices.finish_reason"),
    ("ChatCompletionMessageList", "data.role"),
}


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    path = os.environ.get("OPENAI_DESCRIPTION")
    if not path:
        pytest.skip("needs the openapi.yaml of openai/openai-openapi: OPENAI_DESCRIPTION")
    pytest.importorskip("jsonschema")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: dict[str, Any] = yaml.load(Path(path).read_text(), loader)
    return {"components": convert_schemas(loaded["components"])}


def convert_schemas(value: Any) -> Any:
    """Return the schemas as JSON Schema reads them.

    `anyOf` stands for `oneOf`, whose members are told apart by hints only, and for `nullable`.
    """
    if isinstance(value, list):
        return [convert_schemas(item) for item in value]
    if not isinstance(value, dict):
        return value
    converted = {
        ("anyOf" if key == "oneOf" else key): convert_schemas(item) for key, item in value.items()
    }
    if converted.get("nullable") is True:
        return {"anyOf": [converted, {"type": "null"}]}
    return converted


class Checker:
    """Collects the places where answers break a schema of the description."""

    def __init__(self, description: dict[str, Any]) -> None:
        from jsonschema import Draft202012Validator

        self._description = description
        self._validator_type = Draft202012Validator
        self.violations: dict[tuple[str, str], str] = {}

    def check(self, name: str, answer: Any) -> None:
        """Compare one answer with a schema; the violations are kept by schema and field."""
        schema = {"$ref": f"#/components/schemas/{name}", **self._description}
        validator = self._validator_type(schema)
        for error in find_causes(validator.iter_errors(answer), answer):
            path = ".".join(str(step) for step in error.absolute_path if isinstance(step, str))
            self.violations[name, path] = error.message[:200]

    def check_events(self, name: str, body: bytes) -> None:
        for data in re.findall(rb"^data: (\{.*\})$", body, re.MULTILINE):
            self.check(name, json.loads(data))


def find_causes(errors: Iterator[Any], answer: Any) -> Iterator[Any]:
    """Yield the innermost errors; in a union those of the member with the answer's type."""
    for error in errors:
        if not error.context:
            yield error
            continue
        members: dict[int, list[Any]] = {}
        for inner in error.context:
            members.setdefault(inner.schema_path[0], []).append(inner)
        fitting = [found for found in members.values() if not any(map(is_about_type, found))]
        yield from find_causes(iter(min(fitting or members.values(), key=len)), answer)


def is_about_type(error: Any) -> bool:
    """Return whether an error says that the answer is of another member of a union."""
    return list(error.absolute_path)[-1:] == ["type"] or error.validator == "type"


@pytest.fixture
def checker(description: dict[str, Any]) -> Checker:
    return Checker(description)


async def ask(gateway, alice, method, path, body=None, **options):
    answer = await gateway.send_request(method, f"/v1/{path}", alice.key, json=body, **options)
    assert answer.status == 200, answer.body
    return answer


def assert_conforms(checker: Checker) -> None:
    unknown = {
        place: text
        for place, text in checker.violations.items()
        if place not in REASONED_EXCEPTIONS
    }
    assert unknown == {}, json.dumps(list(unknown.values()))


async def test_chat_completions_conform(gateway, upstream, alice, checker):
    upstream.queue_scripts(
        send_reply(speech.chat_completion("Hi")),
        send_stream(*speech.streamed_completion("H", "i"), DONE),
    )
    body = {"model": "m", "messages": QUESTION, "store": True}
    made = await ask(gateway, alice, "POST", "chat/completions", body)
    checker.check("CreateChatCompletionResponse", made.json)
    options = {"stream": True, "stream_options": {"include_usage": True}, "store": False}
    streamed = await ask(gateway, alice, "POST", "chat/completions", body | options)
    checker.check_events("CreateChatCompletionStreamResponse", streamed.body)
    path = f"chat/completions/{made.json['id']}"
    checker.check("ChatCompletionList", (await ask(gateway, alice, "GET", "chat/completions")).json)
    checker.check("CreateChatCompletionResponse", (await ask(gateway, alice, "GET", path)).json)
    messages = await ask(gateway, alice, "GET", f"{path}/messages")
    checker.check("ChatCompletionMessageList", messages.json)
    deleted = await ask(gateway, alice, "DELETE", path)
    checker.check("ChatCompletionDeleted", deleted.json)
    assert_conforms(checker)


async def test_completions_embeddings_and_models_conform(gateway, upstream, alice, checker):
    upstream.queue_scripts(
        send_reply(speech.text_completion("Hi")),
        send_stream(*speech.streamed_text_completion("Hi"), DONE),
        send_reply(speech.embedding_list([0.5])),
    )
    body = {"model": "m", "prompt": "Hello!"}
    made = await ask(gateway, alice, "POST", "completions", body)
    checker.check("CreateCompletionResponse", made.json)
    streamed = await ask(gateway, alice, "POST", "completions", body | {"stream": True})
    checker.check_events("CreateCompletionResponse", streamed.body)
    embedded = await ask(gateway, alice, "POST", "embeddings", {"model": "m", "input": "Hello!"})
    checker.check("CreateEmbeddingResponse", embedded.json)
    checker.check("ListModelsResponse", (await ask(gateway, alice, "GET", "models")).json)
    checker.check("Model", (await ask(gateway, alice, "GET", "models/m")).json)
    assert_conforms(checker)


async def test_responses_conform(gateway, upstream, alice, checker):
    message = {"reasoning_content": "Hm."}
    upstream.queue_scripts(
        send_reply(speech.chat_completion("Hi", message=message)),
        send_stream(*speech.streamed_completion("H", "i"), DONE),
        send_reply(speech.chat_completion("Hi")),
        send_reply(speech.chat_completion("A summary.")),
    )
    body = {"model": "m", "input": "Hello!"}
    made = await ask(gateway, alice, "POST", "responses", body)
    checker.check("Response", made.json)
    streamed = await ask(gateway, alice, "POST", "responses", body | {"stream": True})
    checker.check_events("ResponseStreamEvent", streamed.body)
    queued = await ask(gateway, alice, "POST", "responses", body | {"background": True})
    checker.check("Response", queued.json)
    path = f"responses/{made.json['id']}"
    checker.check("Response", (await ask(gateway, alice, "GET", path)).json)
    items = await ask(gateway, alice, "GET", f"{path}/input_items")
    checker.check("ResponseItemList", items.json)
    counted = await ask(gateway, alice, "POST", "responses/input_tokens", body)
    checker.check("TokenCountsResource", counted.json)
    compacted = await ask(gateway, alice, "POST", "responses/compact", body)
    checker.check("CompactResource", compacted.json)
    assert_conforms(checker)


async def test_conversations_and_files_conform(gateway, alice, checker):
    made = await ask(gateway, alice, "POST", "conversations", {"items": QUESTION})
    checker.check("ConversationResource", made.json)
    path = f"conversations/{made.json['id']}"
    checker.check("ConversationItemList", (await ask(gateway, alice, "GET", f"{path}/items")).json)
    deleted = await ask(gateway, alice, "DELETE", path)
    checker.check("DeletedConversationResource", deleted.json)
    stored = (await upload_file(gateway, alice.key)).json
    checker.check("OpenAIFile", stored)
    checker.check("ListFilesResponse", (await ask(gateway, alice, "GET", "files")).json)
    deleted = await ask(gateway, alice, "DELETE", f"files/{stored['id']}")
    checker.check("DeleteFileResponse", deleted.json)
    assert_conforms(checker)
