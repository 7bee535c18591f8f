"""The schemas of request bodies, made of the shapes by which bodies are checked."""

from typing import Any

import msgspec

from api.batches.create_batch import NewBatch
from api.messages.request.body_shape import MessageCountBody, MessagesBody
from api.openapi.endpoint import REFERENCE_PREFIX
from api.relayed.relayed_bodies import ImageBody, ModerationBody, RerankBody, SpeechBody
from api.responses.request.schema import ResponseBody, TokenCountBody
from api.schemas.body_shapes import ChatBody, CompletionBody, EmbeddingBody
from api.views.conversations import NewConversation, NewItems, NewMetadata
from api.views.sessions import NewSession
from api.views.stored_files.file_ingestion import IngestBody
from api.views.stored_files.uploads import NewUpload, UploadCompletion
from api.views.tokenizing.token_bodies import DetokenizeBody, TokenizeBody
from api.views.web_search import SearchBody
from providers.protocol.json_types import JsonObject

SHAPES = (
    ChatBody,
    CompletionBody,
    EmbeddingBody,
    ImageBody,
    SpeechBody,
    ModerationBody,
    RerankBody,
    ResponseBody,
    TokenCountBody,
    MessagesBody,
    MessageCountBody,
    SearchBody,
    NewConversation,
    NewMetadata,
    NewItems,
    NewSession,
    IngestBody,
    TokenizeBody,
    DetokenizeBody,
    NewUpload,
    UploadCompletion,
    NewBatch,
)
# what a field means; the others are as in OpenAI's reference
FIELD_TEXTS = {
    "model": "The id of a model, as GET /v1/models lists it.",
    "messages": "The conversation so far, the oldest message first.",
    "input": "A text, or the items of the conversation.",
    "prompt": "The text to be continued.",
    "stream": "True: the answer comes as server-sent events.",
    "stream_options": 'With {"include_usage": true} a last chunk of a stream carries the usage.',
    "temperature": "0 to 2; higher is more random.",
    "max_tokens": "The most completion tokens; for responses it is max_output_tokens.",
    "max_completion_tokens": "The most completion tokens, reasoning included.",
    "tools": "Functions that the model may call.",
    "tool_choice": "none, auto, required, or the function that must be called.",
    "response_format": "text, json_object, or a json_schema that the answer keeps to.",
    "store": "True: the completion can be retrieved later by its id.",
    "user": "Your own name for the end user.",
    "web_search_options": "Let the model search the web, where its provider can.",
    "conversation_id": "Own: the conversation of which this request is a turn; its history is sent "
    "along.",
    "session_id": "Own: requests with the same session use the same upstream token; where the key "
    "remembers sessions, they are one conversation.",
    "mpr_candidates": "Own: the number of answers from which a multipath model makes its own.",
    "long_prompts": "Own: fit shortens a prompt that is too long, refuse answers with an error.",
    "reasoning_format": "parsed: reasoning in a field of its own; raw: within the text; hidden: "
    "not at all.",
    "previous_response_id": "The response that this one follows; its history is sent along.",
    "conversation": "The conversation of which this response is a part.",
    "background": "True: answer at once, and work on; ask for the response by its id.",
    "metadata": "Up to 16 pairs of texts that are kept with the object.",
    "instructions": "A system message for this response alone.",
    "max_output_tokens": "The most completion tokens, reasoning included.",
    "system": "A text, or blocks of text, that stands before all messages.",
    "stop_sequences": "Texts at which the answer ends.",
    "thinking": "adaptive, disabled, or enabled with budget_tokens (at least 1024).",
    "output_config": "effort, and format: a json_schema that the answer keeps to.",
    "thread": "Only for providers that speak Anthropic's API; refused for all others.",
    "dimensions": "The length of the vectors, where the model can choose it.",
    "encoding_format": "float, or base64 of 32-bit floats.",
    "file_id": "The id of an uploaded file.",
    "mime_type": "The type of the file.",
    "bytes": "The size of the whole file.",
    "part_ids": "The parts in their order.",
    "md5": "The MD5 digest of the whole file, in hexadecimal digits.",
    "query": "What to search for.",
    "count": "How many results at most.",
    "documents": "The texts to rank, or objects with a text.",
    "top_n": "How many of the best documents to name.",
    "voice": "The name of a voice of the model.",
    "stream_format": "audio: the bytes; sse: events with pieces of them.",
    "n": "How many answers or images to make.",
    "input_file_id": "The id of an uploaded file with the purpose batch.",
    "completion_window": "24h.",
    "items": "The items to add, in OpenAI's form.",
}


def build_request_schemas() -> dict[str, JsonObject]:
    """Return the schemas of all request bodies by name; unknown fields are allowed in each."""
    _, schemas = msgspec.json.schema_components(SHAPES, ref_template=REFERENCE_PREFIX + "{name}")
    for shape in SHAPES:
        describe_fields(schemas[shape.__name__])
    return schemas


def describe_fields(schema: dict[str, Any]) -> None:
    """Add the descriptions of its fields to a schema."""
    for name, text in FIELD_TEXTS.items():
        field = schema.get("properties", {}).get(name)
        if field is None:
            continue
        if "$ref" in field:  # a reference stands alone in older tools
            schema["properties"][name] = field = {"allOf": [field]}
        field["description"] = text
