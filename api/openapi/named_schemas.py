"""All named schemas of the document: those of bodies, and those of answers."""

from functools import cache

from api.openapi.answer_schemas import ANSWER_SCHEMAS, ANY_OBJECT
from api.openapi.endpoint import refer_to
from api.openapi.form_schemas import FORM_SCHEMAS
from api.openapi.request_schemas import build_request_schemas
from providers.protocol.json_types import JsonObject


@cache
def build_schemas() -> JsonObject:
    """Return the schemas by name; they never change while the process runs."""
    return {
        **build_request_schemas(),
        **FORM_SCHEMAS,
        **ANSWER_SCHEMAS,
        "AnyJson": ANY_OBJECT,
        "ChangeOrChat": {"anyOf": [refer_to("NewMetadata"), refer_to("ChatBody")]},
    }
