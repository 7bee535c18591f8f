"""The OpenAPI document: it is valid, and lacks no endpoint."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from openapi_spec_validator import validate
from rest_framework.views import APIView

from api.address_hints import UNKNOWN_URL_NAME
from api.openapi.docs_page import list_subjects
from api.openapi.document import build_document
from api.openapi.error_kinds import list_error_kinds
from api.openapi.subjects import SUBJECTS

METHODS = ("get", "post", "put", "patch", "delete")
ENDPOINTS = [endpoint for subject in SUBJECTS for endpoint in subject.endpoints]


def iterate_patterns(patterns: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from iterate_patterns(pattern.url_patterns, address)
        else:
            yield address, pattern


def simplify(address: str) -> str:
    """Return an address of the resolver as a pattern of the document, with nameless parameters."""
    address = re.sub(r"\(\?P<\w+>[^/]*?\[\^/\]\*\)", "{}", address)
    address = re.sub(r"<[^>]*>", "{}", address)
    return "/" + address.replace("^", "").replace("$", "")


def list_documented() -> dict[str, set[str]]:
    paths = build_document()["paths"]
    return {re.sub(r"\{\w+\}", "{}", path): set(methods) for path, methods in paths.items()}


def test_the_document_is_a_valid_openapi_document(client: Client) -> None:
    answer = client.get("/api/schema/")
    assert answer["content-type"] == "application/json"
    document = json.loads(answer.content)
    assert document["openapi"].startswith("3.1")
    validate(document)
    assert client.post("/api/schema/").status_code == 405


def test_no_endpoint_under_v1_and_no_json_of_the_staff_is_missing() -> None:
    documented = list_documented()
    missing = []
    for address, pattern in iterate_patterns(get_resolver().url_patterns):
        view = getattr(pattern.callback, "cls", None)
        is_drf = isinstance(view, type) and issubclass(view, APIView)
        if pattern.name == UNKNOWN_URL_NAME or not (
            address.lstrip("^").startswith("v1/") or is_drf
        ):
            continue
        path = simplify(address)
        methods = {name for name in METHODS if is_drf and hasattr(view, name)}
        if path not in documented or not methods <= documented[path]:
            missing.append((path, methods - documented.get(path, set())))
    assert not missing


def test_no_endpoint_of_the_document_is_made_up() -> None:
    existing = {simplify(address) for address, _ in iterate_patterns(get_resolver().url_patterns)}
    assert set(list_documented()) <= existing


def test_operations_have_ids_of_their_own_and_schemas_that_exist() -> None:
    ids = [endpoint.operation_id for endpoint in ENDPOINTS]
    assert len(ids) == len(set(ids))
    text = json.dumps(build_document())
    names = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert names <= set(build_document()["components"]["schemas"])


def test_every_kind_of_error_is_explained() -> None:
    kinds = list_error_kinds()
    assert {kind.status for kind in kinds} >= {400, 401, 404, 429, 503}
    assert not [kind.code for kind in kinds if not kind.meaning]


def test_the_page_shows_every_endpoint_with_a_command(client: Client) -> None:
    html = client.get("/api/docs/").content.decode()
    for endpoint in ENDPOINTS:
        assert f'id="{endpoint.operation_id}"' in html
    assert "model_not_found" in html
    assert 'style="' not in html


@pytest.mark.parametrize("subject", list_subjects("http://gateway"), ids=lambda one: one.name)
def test_commands_are_for_a_shell(subject: Any) -> None:
    for shown in subject.endpoints:
        assert shown.curl.startswith("curl ")
        assert ("$API_KEY" in shown.curl) != shown.endpoint.is_open
