"""The OpenAPI document: drf-spectacular finds the DRF views, and the others are added beside them.

All operations come from the table in `subjects/`; a test finds endpoints that it lacks.
"""

from functools import cache
from typing import Any

from django.conf import settings
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema

from api.openapi.endpoint import build_operation
from api.openapi.named_schemas import build_schemas
from api.openapi.subjects import SUBJECTS
from providers.protocol.json_types import JsonObject

OPENAPI_VERSION = "3.1.0"
TITLE = "proxysite"
DESCRIPTION = (
    "An OpenAI-compatible gateway to many upstreams. Send an API key as `Authorization: Bearer …`. "
    "Every answer has a header `x-request-id`, and answers to a limited key say what is left in "
    "`x-ratelimit-…`."
)


class EndpointSchema(AutoSchema):
    """drf-spectacular's schema of a view, with the operations of the table."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any
    ) -> Any:
        return find_operation(method, path)


@cache
def build_operations() -> dict[tuple[str, str], JsonObject]:
    """Return the operation of each method and path of the table."""
    return {
        (endpoint.method, endpoint.path): build_operation(endpoint, subject.name)
        for subject in SUBJECTS
        for endpoint in subject.endpoints
    }


def find_operation(method: str, path: str) -> JsonObject | None:
    """Return the operation of a method of a path, or None where the table has none."""
    return build_operations().get((method.lower(), path))


@cache
def build_document() -> JsonObject:
    """Return the whole document; it never changes while the process runs."""
    generator: Any = SchemaGenerator  # it has no types
    found: JsonObject = generator().get_schema(request=None, public=True)
    paths: JsonObject = {path: dict(methods) for path, methods in found["paths"].items() if methods}
    for (method, path), operation in build_operations().items():
        paths.setdefault(path, {}).setdefault(method, operation)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": TITLE, "version": settings.VERSION, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": one.name, "description": one.description} for one in SUBJECTS],
        "paths": {path: paths[path] for path in list_paths(paths)},
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": build_schemas(),
        },
    }


def list_paths(paths: JsonObject) -> list[str]:
    """Return the paths in the order of the table; others, if any, follow."""
    ordered = [one.path for subject in SUBJECTS for one in subject.endpoints]
    return [path for path in dict.fromkeys((*ordered, *paths)) if path in paths]
