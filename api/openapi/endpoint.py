"""One endpoint in the OpenAPI document, and the operation that is made of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.protocol.json_types import JsonObject

REFERENCE_PREFIX = "#/components/schemas/"
JSON_TYPE = "application/json"
EVENT_TYPE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter in the query, the path or a header."""

    name: str
    description: str
    schema: JsonObject = field(default_factory=lambda: {"type": "string"})
    where: str = "query"
    example: Any = None


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request: the name of its schema, an example, and its content type."""

    schema: str
    example: Any
    content_type: str = JSON_TYPE
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: by content type the name of its schema; an empty name is any text."""

    description: str
    content: Mapping[str, str]
    example: Any = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path; `path_texts` explains the parameters in the path."""

    method: str
    path: str
    summary: str
    answer: Answer
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    path_texts: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    error_schema: str = "Error"
    is_open: bool = False  # no key is needed

    @property
    def operation_id(self) -> str:
        words = self.path.strip("/").replace("{", "").replace("}", "").replace("-", "_")
        return "_".join([self.method, *words.split("/")])


@dataclass(frozen=True, slots=True)
class Subject:
    """Endpoints of one subject: the tag of the document, a chapter of the page."""

    name: str
    description: str
    endpoints: tuple[Endpoint, ...]


def refer_to(schema_name: str) -> JsonObject:
    """Return a reference to a named schema; an empty name is a text."""
    return {"$ref": REFERENCE_PREFIX + schema_name} if schema_name else {"type": "string"}


def build_operation(endpoint: Endpoint, subject_name: str) -> JsonObject:
    """Return the operation object of an endpoint."""
    operation: JsonObject = {
        "operationId": endpoint.operation_id,
        "summary": endpoint.summary,
        "tags": [subject_name],
        "parameters": [build_parameter(one) for one in list_parameters(endpoint)],
        "responses": build_responses(endpoint),
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    if endpoint.is_open:
        operation["security"] = []
    if endpoint.body is not None:
        media = {"schema": refer_to(endpoint.body.schema), "example": endpoint.body.example}
        operation["requestBody"] = {
            "required": endpoint.body.is_required,
            "content": {endpoint.body.content_type: media},
        }
    return operation


def list_parameters(endpoint: Endpoint) -> Iterator[Parameter]:
    """Yield the parameters in the path, then the others."""
    for name, text in endpoint.path_texts.items():
        yield Parameter(name, text, {"type": "string", "minLength": 1}, "path")
    yield from endpoint.parameters


def build_parameter(parameter: Parameter) -> JsonObject:
    built: JsonObject = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "schema": parameter.schema,
    }
    if parameter.where == "path":
        built["required"] = True
    if parameter.example is not None:
        built["example"] = parameter.example
    return built


def build_responses(endpoint: Endpoint) -> JsonObject:
    """Return the answers of an endpoint: the good one, and that of every error."""
    answer = endpoint.answer
    content: JsonObject = {}
    for content_type, schema_name in answer.content.items():
        content[content_type] = {"schema": refer_to(schema_name)}
        if answer.example is not None and content_type == JSON_TYPE:
            content[content_type]["example"] = answer.example
    return {
        "200": {"description": answer.description, "content": content},
        "default": {
            "description": "An error. The status says which kind; see `Error`.",
            "content": {JSON_TYPE: {"schema": refer_to(endpoint.error_schema)}},
        },
    }
