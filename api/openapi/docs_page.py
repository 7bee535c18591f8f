"""The endpoints on the page of the API, each with its fields, an example and a curl command."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from api.openapi.endpoint import JSON_TYPE, Body, Endpoint, Parameter, list_parameters, refer_to
from api.openapi.named_schemas import build_schemas
from api.openapi.schema_texts import FieldText, list_fields, list_types
from api.openapi.subjects import SUBJECTS

KEY_VARIABLE = "$API_KEY"
EXAMPLE_VALUES = {"model": "echo"}  # of parameters in a path


@dataclass(frozen=True, slots=True)
class ShownEndpoint:
    """An endpoint as the page shows it."""

    endpoint: Endpoint
    anchor: str
    parameters: tuple[FieldText, ...]
    fields: tuple[FieldText, ...]
    answer_fields: tuple[FieldText, ...]
    curl: str
    answer_example: str


@dataclass(frozen=True, slots=True)
class ShownSubject:
    name: str
    anchor: str
    description: str
    endpoints: tuple[ShownEndpoint, ...]


def list_subjects(base_url: str) -> list[ShownSubject]:
    """Return all chapters; `base_url` is the address of this gateway, for the commands."""
    schemas = build_schemas()
    return [
        ShownSubject(
            subject.name,
            subject.name.lower().replace(" ", "-").replace(",", ""),
            subject.description,
            tuple(show_endpoint(one, schemas, base_url) for one in subject.endpoints),
        )
        for subject in SUBJECTS
    ]


def show_endpoint(endpoint: Endpoint, schemas: dict[str, Any], base_url: str) -> ShownEndpoint:
    fields: tuple[FieldText, ...] = ()
    if endpoint.body is not None:
        fields = tuple(list_fields(refer_to(endpoint.body.schema), schemas))
    answer = endpoint.answer
    answer_schema = answer.content.get(JSON_TYPE, "")
    example = json.dumps(answer.example, indent=2) if answer.example is not None else ""
    return ShownEndpoint(
        endpoint,
        endpoint.operation_id,
        tuple(describe_parameter(one) for one in list_parameters(endpoint)),
        fields,
        tuple(list_fields(refer_to(answer_schema), schemas)) if answer_schema else (),
        render_curl(endpoint, base_url),
        example,
    )


def describe_parameter(parameter: Parameter) -> FieldText:
    kind = " or ".join(list_types(parameter.schema))
    return FieldText(
        parameter.name,
        f"{kind}, {parameter.where}",
        parameter.where == "path",
        parameter.description,
    )


# --- curl -----------------------------------------------------------------------------------------
def render_curl(endpoint: Endpoint, base_url: str) -> str:
    """Return the command that sends the example of an endpoint."""
    return " \\\n  ".join(list_curl_parts(endpoint, base_url))


def list_curl_parts(endpoint: Endpoint, base_url: str) -> Iterator[str]:
    """Yield the lines of the command: the address, the headers, the body."""
    path = endpoint.path
    for name in endpoint.path_texts:
        path = path.replace(f"{{{name}}}", EXAMPLE_VALUES.get(name, name.upper()))
    query = urlencode(
        {
            one.name: one.example
            for one in endpoint.parameters
            if one.where == "query" and one.example is not None
        }
    )
    address = f"{base_url}{path}{'?' + query if query else ''}"
    method = (
        "" if endpoint.method == "get" or has_data(endpoint) else f"-X {endpoint.method.upper()} "
    )
    yield f"curl {method}{shlex.quote(address)}"
    if not endpoint.is_open:
        yield f'-H "Authorization: Bearer {KEY_VARIABLE}"'
    if endpoint.body is not None and has_data(endpoint):
        yield from list_body_parts(endpoint.body)


def has_data(endpoint: Endpoint) -> bool:
    """Return whether the example sends a body; curl makes a POST of it by itself."""
    return endpoint.body is not None and bool(endpoint.body.example)


def list_body_parts(body: Body) -> Iterator[str]:
    if body.content_type == JSON_TYPE:
        yield '-H "Content-Type: application/json"'
        yield f"-d {shlex.quote(json.dumps(body.example))}"
        return
    for name, value in body.example.items():
        yield f"-F {shlex.quote(f'{name}=@{value}' if name == 'file' else f'{name}={value}')}"
