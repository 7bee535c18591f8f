"""The endpoints of conversations and sessions."""

from api.openapi.endpoint import JSON_TYPE, Answer, Body, Endpoint, Parameter, Subject
from api.openapi.subjects.page_parameters import INCLUDE, PAGE_PARAMETERS

CONVERSATION_ID = {"conversation_id": "The id of a conversation, conv_…"}
ITEM_ID = {**CONVERSATION_ID, "item_id": "The id of an item, for example msg_…"}
SESSION_ID = {"session_id": "The name of a session."}
ONE_CONVERSATION = Answer("The conversation.", {JSON_TYPE: "Conversation"})
ITEM_PAGE = Answer("A page of items.", {JSON_TYPE: "ItemPage"})
EXPORT_FORMAT = Parameter("format", "jsonl, json or markdown.", {"type": "string"}, example="jsonl")
EXPORT = Answer("The file.", {"application/jsonl": "", JSON_TYPE: "AnyJson", "text/markdown": ""})
MESSAGE = {"type": "message", "role": "user", "content": "Hello"}

CONVERSATIONS = Subject(
    "Conversations",
    "OpenAI's conversations; besides, they are listed, searched and exported.",
    (
        Endpoint(
            "post",
            "/v1/conversations",
            "Create a conversation",
            ONE_CONVERSATION,
            body=Body("NewConversation", {"metadata": {"topic": "weather"}, "items": [MESSAGE]}),
        ),
        Endpoint(
            "get",
            "/v1/conversations",
            "List your conversations",
            Answer("A page of conversations.", {JSON_TYPE: "ConversationPage"}),
            parameters=PAGE_PARAMETERS,
        ),
        Endpoint(
            "get",
            "/v1/conversations/search",
            "Search your conversations",
            Answer("A page of hits.", {JSON_TYPE: "ConversationHitPage"}),
            parameters=(
                Parameter("q", "The words to look for.", example="weather"),
                Parameter("limit", "How many at most.", {"type": "integer", "minimum": 1}),
                Parameter("before", "The id of the last hit; the page goes on behind it."),
            ),
        ),
        Endpoint(
            "get",
            "/v1/conversations/export",
            "Export your conversations",
            EXPORT,
            parameters=(EXPORT_FORMAT,),
        ),
        Endpoint(
            "get",
            "/v1/conversations/{conversation_id}/export",
            "Export a conversation",
            EXPORT,
            parameters=(EXPORT_FORMAT,),
            path_texts=CONVERSATION_ID,
        ),
        Endpoint(
            "get",
            "/v1/conversations/{conversation_id}",
            "Get a conversation",
            ONE_CONVERSATION,
            path_texts=CONVERSATION_ID,
        ),
        Endpoint(
            "post",
            "/v1/conversations/{conversation_id}",
            "Change the metadata of a conversation",
            ONE_CONVERSATION,
            path_texts=CONVERSATION_ID,
            body=Body("NewMetadata", {"metadata": {"topic": "weather"}}),
        ),
        Endpoint(
            "delete",
            "/v1/conversations/{conversation_id}",
            "Delete a conversation",
            Answer("What was deleted.", {JSON_TYPE: "DeletedConversation"}),
            path_texts=CONVERSATION_ID,
        ),
        Endpoint(
            "get",
            "/v1/conversations/{conversation_id}/items",
            "List the items of a conversation",
            ITEM_PAGE,
            parameters=(*PAGE_PARAMETERS, INCLUDE),
            path_texts=CONVERSATION_ID,
        ),
        Endpoint(
            "post",
            "/v1/conversations/{conversation_id}/items",
            "Add items to a conversation",
            ITEM_PAGE,
            parameters=(INCLUDE,),
            path_texts=CONVERSATION_ID,
            body=Body("NewItems", {"items": [MESSAGE]}),
        ),
        Endpoint(
            "get",
            "/v1/conversations/{conversation_id}/items/{item_id}",
            "Get an item",
            Answer("The item.", {JSON_TYPE: "Item"}),
            parameters=(INCLUDE,),
            path_texts=ITEM_ID,
        ),
        Endpoint(
            "delete",
            "/v1/conversations/{conversation_id}/items/{item_id}",
            "Delete an item",
            ONE_CONVERSATION,
            path_texts=ITEM_ID,
        ),
    ),
)

SESSIONS = Subject(
    "Sessions",
    "Conversations with names that their clients chose, in OpenKimi's form.",
    (
        Endpoint(
            "post",
            "/v1/sessions",
            "Create a session",
            Answer("The session.", {JSON_TYPE: "Session"}),
            body=Body("NewSession", {"session_id": "holidays"}),
        ),
        Endpoint(
            "get",
            "/v1/sessions",
            "List your sessions",
            Answer("A page of sessions.", {JSON_TYPE: "SessionPage"}),
            parameters=PAGE_PARAMETERS,
        ),
        Endpoint(
            "get",
            "/v1/sessions/{session_id}",
            "Get a session",
            Answer("The session.", {JSON_TYPE: "Session"}),
            path_texts=SESSION_ID,
        ),
        Endpoint(
            "delete",
            "/v1/sessions/{session_id}",
            "Delete a session",
            Answer("What was deleted.", {JSON_TYPE: "DeletedSession"}),
            path_texts=SESSION_ID,
        ),
    ),
)
