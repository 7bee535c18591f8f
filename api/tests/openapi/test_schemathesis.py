"""Requests made of the OpenAPI document: none breaks the gateway, and all answers are as said."""

import asyncio
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.openapi.document import build_document
from api.openapi.endpoint import JSON_TYPE, Endpoint, refer_to
from api.openapi.subjects import SUBJECTS
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows

load_all_checks()
EXAMPLES = 4  # of each operation
NOT_SET_UP = (501, 503)  # nothing here searches the web or works in the background
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
NEEDS_MORE = (  # than there is in this test: a search service, a file, accounts …
    "/v1/web_search",
    "/v1/embeddings",
    "/v1/images/generations",
    "/v1/audio/speech",
    "/v1/moderations",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
    "/v1/files/ingest",
    "/v1/batches",
    "/admin/switch_mode",
    "/admin/tokens/reload",
    "/admin/tokens/updater/force-update",
)
ENDPOINTS_WITH_EXAMPLES = [
    endpoint
    for subject in SUBJECTS
    for endpoint in subject.endpoints
    if endpoint.body is not None
    and endpoint.body.content_type == JSON_TYPE
    and not endpoint.path_texts
    and endpoint.path not in NEEDS_MORE
]


@pytest.fixture
async def echo_gateway(gateway: Any, upstream: Any) -> Any:
    """Yield the gateway with the model `echo`; the other provider may be sent anything."""

    def create_echo() -> None:
        owner = rows.create_provider("", "echo", models=(), kind="echo", needs_token=False)
        rows.create_model(owner, "echo", "echo")
        rows.create_model(owner, "gpt-5", "gpt-5")  # of the example with tokens

    await run_in_thread(create_echo)
    await gateway.reload_rows()
    yield gateway
    upstream.failures.clear()  # it does not understand the checks of tokens


def send_random_requests(operation: Any, url: str, key: str) -> None:
    """Send some requests that the document allows, and check the answers."""

    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        answer = case.call(base_url=url, headers=headers, timeout=20)
        if answer.status_code not in NOT_SET_UP:
            case.validate_response(answer, checks=CHECKS)

    send()


@pytest.mark.timeout(240)
async def test_random_requests_get_the_answers_that_the_document_promises(
    echo_gateway: Any, operator: Any
) -> None:
    schema = schemathesis.openapi.from_dict(build_document())
    wrong = []
    for result in schema.get_all_operations():
        operation = result.ok()
        try:
            await asyncio.to_thread(send_random_requests, operation, echo_gateway.url, operator.key)
        except BaseExceptionGroup as failures:
            wrong.append((operation.label, [str(one)[:400] for one in failures.exceptions]))
    assert not wrong


@pytest.mark.parametrize("endpoint", ENDPOINTS_WITH_EXAMPLES, ids=lambda one: one.operation_id)
async def test_the_example_of_an_endpoint_gets_the_answer_that_is_described(
    echo_gateway: Any, operator: Any, endpoint: Endpoint
) -> None:
    body = endpoint.body.example if endpoint.body else None
    query = "?provider=fake" if endpoint.path.startswith("/admin/") else ""
    answer = await echo_gateway.send_request(
        "POST", f"{endpoint.path}{query}", operator.key, json=body
    )
    assert answer.status == 200, answer.text
    schema = refer_to(endpoint.answer.content[JSON_TYPE])
    components = {"components": build_document()["components"]}
    jsonschema.validate(answer.json, schema | components)
