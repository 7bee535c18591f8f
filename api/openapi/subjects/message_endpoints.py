"""The endpoints of Anthropic's Messages API."""

from api.openapi.endpoint import EVENT_TYPE, JSON_TYPE, Answer, Body, Endpoint, Subject
from api.openapi.subjects.answers import IDEMPOTENCY_KEY

MESSAGE_EXAMPLE = {
    "model": "echo",
    "max_tokens": 256,
    "messages": [{"role": "user", "content": "Hello"}],
}
COUNT_EXAMPLE = {name: MESSAGE_EXAMPLE[name] for name in ("model", "messages")}
ERROR_SCHEMA = "MessagesError"

MESSAGES = Subject(
    "Messages",
    "Anthropic's Messages API, over every provider. The key may also come as x-api-key. Clients "
    "that send the header anthropic-version get /v1/models in Anthropic's form too.",
    (
        Endpoint(
            "post",
            "/v1/messages",
            "Create a message",
            Answer(
                "The message; with stream=true its events.", {JSON_TYPE: "Message", EVENT_TYPE: ""}
            ),
            "A provider that speaks Anthropic's API gets the body as it is; all others get the "
            "chat completion that says the same. A field that no chat completion has is refused.",
            parameters=(IDEMPOTENCY_KEY,),
            body=Body("MessagesBody", MESSAGE_EXAMPLE),
            error_schema=ERROR_SCHEMA,
        ),
        Endpoint(
            "post",
            "/v1/messages/count_tokens",
            "Count the tokens of a message's input",
            Answer("The number of tokens.", {JSON_TYPE: "MessageTokens"}),
            body=Body("MessageCountBody", COUNT_EXAMPLE),
            error_schema=ERROR_SCHEMA,
        ),
    ),
)
