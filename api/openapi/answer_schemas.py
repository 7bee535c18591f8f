"""The schemas of answers: the fields that are always there. More may come."""

from typing import Any

from providers.protocol.json_types import JsonObject

TEXT: JsonObject = {"type": "string"}
NUMBER: JsonObject = {"type": "number"}
INTEGER: JsonObject = {"type": "integer"}
YES_OR_NO: JsonObject = {"type": "boolean"}
ANY_OBJECT: JsonObject = {"type": "object", "additionalProperties": True}
OPTIONAL_TEXT: JsonObject = {"type": ["string", "null"]}
OPTIONAL_INTEGER: JsonObject = {"type": ["integer", "null"]}


def make_object(description: str, **fields: JsonObject) -> JsonObject:
    """Return the schema of an object that always has these fields."""
    schema: JsonObject = {"type": "object", "properties": fields, "required": list(fields)}
    return schema | {"description": description, "additionalProperties": True}


def make_list(item: JsonObject) -> JsonObject:
    return {"type": "array", "items": item}


def make_page(description: str, item_name: str) -> JsonObject:
    """Return the schema of a page of a list: go on with `after` = last_id while has_more."""
    return make_object(
        description,
        object=make_constant("list"),
        data=make_list({"$ref": f"#/components/schemas/{item_name}"}),
        first_id=OPTIONAL_TEXT,
        last_id=OPTIONAL_TEXT,
        has_more=YES_OR_NO,
    )


def make_constant(*values: Any) -> JsonObject:
    return {"enum": list(values)}


def make_deletion(kind: str) -> JsonObject:
    return make_object("What was deleted.", id=TEXT, object=make_constant(kind), deleted=YES_OR_NO)


USAGE = make_object(
    "The counted tokens.",
    prompt_tokens=INTEGER,
    completion_tokens=INTEGER,
    total_tokens=INTEGER,
)
ANSWER_SCHEMAS: dict[str, JsonObject] = {
    "Message": make_object(
        "A message of the model.",
        id=TEXT,
        type=make_constant("message"),
        role=make_constant("assistant"),
        model=TEXT,
        content=make_list(ANY_OBJECT),
        stop_reason=OPTIONAL_TEXT,
        stop_sequence=OPTIONAL_TEXT,
        usage=make_object("The counted tokens.", input_tokens=INTEGER, output_tokens=INTEGER),
    ),
    "MessageTokens": make_object("The tokens of an input.", input_tokens=INTEGER),
    "MessagesError": make_object(
        "An error in Anthropic's form. `message` begins with the field at fault, if there is one.",
        type=make_constant("error"),
        error=make_object("The error.", type=TEXT, message=TEXT),
        request_id=TEXT,
    ),
    "Error": make_object(
        "An error in OpenAI's form. `type` and `code` say what it is, `param` names the field at "
        "fault. Quote the header x-request-id when you report it.",
        error=make_object(
            "The error.",
            message=TEXT,
            type=OPTIONAL_TEXT,
            param=OPTIONAL_TEXT,
            code={"type": ["string", "integer", "null"]},
        ),
    ),
    "StaffError": {
        "anyOf": [
            {"$ref": "#/components/schemas/Error"},
            make_object("What is wrong.", status=make_constant("error"), message=TEXT),
        ]
    },
    "ChatCompletion": make_object(
        "A chat completion.",
        id=TEXT,
        object=make_constant("chat.completion"),
        created=INTEGER,
        model=TEXT,
        choices=make_list(
            make_object(
                "One answer.",
                index=INTEGER,
                message=make_object("The answer's message.", role=TEXT),
                finish_reason=OPTIONAL_TEXT,
            )
        ),
    ),
    "Completion": make_object(
        "A completion of a text.",
        object=make_constant("text_completion"),
        model=TEXT,
        choices=make_list(ANY_OBJECT),
    ),
    "Embeddings": make_object(
        "One vector for each input.",
        object=make_constant("list"),
        data=make_list(ANY_OBJECT),
        model=TEXT,
    ),
    "Images": make_object(
        "Images as base64 or as addresses, and the usage where the model reports it.",
        data=make_list(ANY_OBJECT),
    ),
    "Transcript": make_object(
        "What a recording says; with verbose_json also its language, length and parts.",
        text=TEXT,
    ),
    "Moderation": make_object(
        "A judgement for each input.", id=TEXT, model=TEXT, results=make_list(ANY_OBJECT)
    ),
    "Ranking": make_object(
        "The ranked documents, in the form of the model's provider.",
        results=make_list(
            make_object("One document.", index=INTEGER, relevance_score=NUMBER),
        ),
    ),
    "Response": make_object(
        "A response.",
        id=TEXT,
        object=make_constant("response"),
        created_at=NUMBER,
        status=TEXT,
        model=TEXT,
        output=make_list(ANY_OBJECT),
    ),
    "CompactedResponse": make_object(
        "The items that stand for a compacted conversation.",
        id=TEXT,
        object=make_constant("response.compaction"),
        output=make_list(ANY_OBJECT),
    ),
    "InputTokens": make_object(
        "How many tokens an input has.",
        object=make_constant("response.input_tokens"),
        input_tokens=INTEGER,
    ),
    "Item": make_object("One item of a conversation.", id=TEXT, type=TEXT),
    "ItemPage": make_page("A page of items.", "Item"),
    "StoredMessage": make_object("One message of a stored completion.", id=TEXT, role=TEXT),
    "StoredMessagePage": make_page("A page of messages.", "StoredMessage"),
    "ChatCompletionPage": make_page("A page of stored completions.", "ChatCompletion"),
    "DeletedCompletion": make_deletion("chat.completion.deleted"),
    "DeletedResponse": make_deletion("response"),
    "DeletedFile": make_deletion("file"),
    "DeletedConversation": make_deletion("conversation.deleted"),
    "Model": make_object(
        "A model, with its context window, prices and capabilities where they are known.",
        id=TEXT,
        object=make_constant("model"),
        created=INTEGER,
        owned_by=TEXT,
    ),
    "TokenList": make_object(
        "How many tokens a text has, and which; `estimated` is true for a guess.",
        count=INTEGER,
    ),
    "TokenText": make_object("The text of tokens.", prompt=TEXT),
    "ModelList": make_object(
        "All models that the key may use.",
        object=make_constant("list"),
        data=make_list({"$ref": "#/components/schemas/Model"}),
    ),
    "File": make_object(
        "An uploaded file.",
        id=TEXT,
        object=make_constant("file"),
        bytes=INTEGER,
        created_at=INTEGER,
        filename=TEXT,
        purpose=TEXT,
    ),
    "FilePage": make_page("A page of files.", "File"),
    "Batch": make_object(
        "A batch. While it runs, request_counts say how far it is.",
        id=TEXT,
        object=make_constant("batch"),
        endpoint=TEXT,
        status=TEXT,
        input_file_id=TEXT,
        output_file_id=OPTIONAL_TEXT,
        error_file_id=OPTIONAL_TEXT,
        created_at=INTEGER,
        expires_at=INTEGER,
        request_counts=make_object(
            "The lines of all, with an answer, and with an error.",
            total=INTEGER,
            completed=INTEGER,
            failed=INTEGER,
        ),
    ),
    "BatchPage": make_page("A page of batches.", "Batch"),
    "FileStatus": make_object(
        "How far a file is processed: uploaded, processing, ingested, empty or error.",
        status=TEXT,
        file_id=TEXT,
        filename=TEXT,
    ),
    "PartedUpload": make_object(
        "A file that comes in parts: pending, completed, cancelled or expired.",
        id=TEXT,
        object=make_constant("upload"),
        bytes=INTEGER,
        created_at=INTEGER,
        expires_at=INTEGER,
        filename=TEXT,
        purpose=TEXT,
        status=TEXT,
    ),
    "UploadPart": make_object(
        "A part of a file.",
        id=TEXT,
        object=make_constant("upload.part"),
        created_at=INTEGER,
        upload_id=TEXT,
    ),
    "UploadPartForm": {
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {"type": "string", "format": "binary", "description": "The bytes."},
        },
    },
    "Upload": {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary", "description": "The file itself."},
            "purpose": {
                "type": "string",
                "description": "Why it is uploaded: assistants, batch, evals, fine-tune, user_data "
                "or vision.",
            },
            "expires_after[anchor]": {"enum": ["created_at"]},
            "expires_after[seconds]": {
                "type": "integer",
                "minimum": 3_600,
                "maximum": 2_592_000,
                "description": "Deleted so many seconds after the upload.",
            },
        },
    },
    "Conversation": make_object(
        "A conversation.",
        id=TEXT,
        object=make_constant("conversation"),
        created_at=INTEGER,
        metadata={"type": ["object", "null"], "additionalProperties": True},
    ),
    "ConversationPage": make_page("A page of conversations, the last used first.", "Conversation"),
    "ConversationHit": make_object(
        "An item that has the words.",
        id=TEXT,
        object=make_constant("conversation.hit"),
        conversation_id=TEXT,
        snippet=TEXT,
    ),
    "ConversationHitPage": make_page("A page of hits.", "ConversationHit"),
    "Session": make_object(
        "A conversation with a name that its client chose.",
        session_id=TEXT,
        created_at=TEXT,
        last_accessed=TEXT,
        expires_at=OPTIONAL_TEXT,
    ),
    "SessionPage": make_page("A page of sessions.", "Session"),
    "DeletedSession": make_object("What was deleted.", session_id=TEXT, deleted=YES_OR_NO),
    "SearchResults": make_object(
        "Results of a web search.",
        status=make_constant("success"),
        query=TEXT,
        results=make_list(ANY_OBJECT),
    ),
    "UsageReport": make_object(
        "The sums of groups, and of all groups.",
        data=make_list(ANY_OBJECT),
        totals=ANY_OBJECT,
    ),
    "RequestReport": make_object(
        "One request: how it ended, what it used and cost, and its upstream calls.",
        id=TEXT,
        object=make_constant("request"),
        status=TEXT,
        started_at=TEXT,
        endpoint=TEXT,
        model=TEXT,
        http_status=OPTIONAL_INTEGER,
        error_code=OPTIONAL_TEXT,
        usage=ANY_OBJECT,
        cost_usd=OPTIONAL_TEXT,
        milliseconds=ANY_OBJECT,
        attempts=make_list(ANY_OBJECT),
    ),
    "KeyReport": make_object(
        "What a key may do, and what is left of its limits.",
        object=make_constant("key"),
        prefix=TEXT,
        name=TEXT,
        user=TEXT,
        models=make_list(TEXT),
        limits=make_list(ANY_OBJECT),
    ),
    "Health": make_object("The state of the gateway.", status=TEXT, version=TEXT),
    "StaffAnswer": make_object("What was done.", status=TEXT),
    "PoolStatus": make_object(
        "A provider's mode, the counts of its tokens, and its settings.",
        mode=TEXT,
        token_stats=ANY_OBJECT,
        config=ANY_OBJECT,
    ),
    "StaffBody": {
        "type": "object",
        "additionalProperties": True,
        "properties": {"provider": {"type": "string", "description": "The name of the provider."}},
    },
    "ModeBody": {
        "type": "object",
        "required": ["mode"],
        "properties": {
            "mode": {"enum": ["guest", "user"]},
            "provider": {"type": "string", "description": "The name of the provider."},
        },
    },
    "TokensBody": {
        "type": "object",
        "required": ["tokens"],
        "properties": {
            "tokens": {"type": "array", "items": TEXT},
            "provider": {"type": "string", "description": "The name of the provider."},
        },
    },
}
