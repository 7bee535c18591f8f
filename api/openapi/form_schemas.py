"""The schemas of forms (multipart/form-data) that go to models."""

from providers.protocol.json_types import JsonObject


def make_text(description: str) -> JsonObject:
    """Return the schema of a text."""
    return {"type": "string", "description": description}


FILE: JsonObject = {"type": "string", "format": "binary"}
MODEL = make_text("The id of a model, as GET /v1/models lists it.")
STREAM: JsonObject = {
    "type": "boolean",
    "description": "True: the answer comes as server-sent events, where the model can.",
}


def make_form(required: list[str], **fields: JsonObject) -> JsonObject:
    """Return the schema of a form; unknown fields go to the model's provider."""
    return {
        "type": "object",
        "required": required,
        "properties": fields,
        "additionalProperties": True,
    }


FORM_SCHEMAS: dict[str, JsonObject] = {
    "ImageForm": make_form(
        ["model", "image"],
        model=MODEL,
        image={**FILE, "description": "The image; several are sent as image[]."},
        mask={**FILE, "description": "The transparent parts of it are edited."},
        prompt=make_text("What to make of it; edits need one."),
        n={"type": "integer", "minimum": 1, "maximum": 10, "description": "How many to make."},
        stream=STREAM,
    ),
    "AudioForm": make_form(
        ["model", "file"],
        model=MODEL,
        file={**FILE, "description": "The recording."},
        language=make_text("Of the recording, for example en."),
        prompt=make_text("Words that help to understand it."),
        response_format=make_text("json, text, srt, verbose_json or vtt."),
        stream=STREAM,
    ),
}
