"""The endpoints that models answer."""

from api.openapi.endpoint import EVENT_TYPE, JSON_TYPE, Answer, Body, Endpoint, Parameter, Subject
from api.openapi.subjects.page_parameters import INCLUDE, PAGE_PARAMETERS

CHAT_EXAMPLE = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}
RESPONSE_EXAMPLE = {"model": "echo", "input": "Hello"}
CHAT_ANSWER = Answer(
    "The answer; with stream=true the same in chunks, and a last line data: [DONE].",
    {JSON_TYPE: "ChatCompletion", EVENT_TYPE: ""},
    {
        "id": "chatcmpl-01a22d5c605d7b089f3b4f093f9bf7f2",
        "object": "chat.completion",
        "created": 1_767_225_600,
        "model": "echo",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 8, "completion_tokens": 1, "total_tokens": 9},
    },
)
RESPONSE_ANSWER = Answer(
    "The response; with stream=true its events.", {JSON_TYPE: "Response", EVENT_TYPE: ""}
)
COMPLETION_ID = {"completion_id": "The id of a stored completion, chatcmpl-…"}
RESPONSE_ID = {"response_id": "The id of a response, resp_…"}
METADATA_BODY = Body("NewMetadata", {"metadata": {"topic": "weather"}})
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "A text of your own: the same request with the same key is answered once.",
    where="header",
)

CHAT = Subject(
    "Chat completions",
    "OpenAI's chat completions. Stored ones are those that were asked for with store=true.",
    (
        Endpoint(
            "post",
            "/v1/chat/completions",
            "Answer a conversation",
            CHAT_ANSWER,
            "The model decides which provider answers; when one fails, the next is asked. Fields "
            "that are marked as own are this gateway's; unknown fields go to the upstream.",
            parameters=(IDEMPOTENCY_KEY,),
            body=Body("ChatBody", CHAT_EXAMPLE),
        ),
        Endpoint(
            "post",
            "/v1/chat/completions/cot",
            "Answer step by step",
            CHAT_ANSWER,
            "The same as /v1/chat/completions, with the strategy stepwise.",
            body=Body("ChatBody", CHAT_EXAMPLE),
        ),
        Endpoint(
            "get",
            "/v1/chat/completions",
            "List stored completions",
            Answer("A page of completions.", {JSON_TYPE: "ChatCompletionPage"}),
            parameters=(*PAGE_PARAMETERS, Parameter("model", "Only those of this model.")),
        ),
        Endpoint(
            "get",
            "/v1/chat/completions/{completion_id}",
            "Get a stored completion",
            Answer("The completion.", {JSON_TYPE: "ChatCompletion"}),
            path_texts=COMPLETION_ID,
        ),
        Endpoint(
            "post",
            "/v1/chat/completions/{completion_id}",
            "Change a stored completion, or answer in a conversation",
            CHAT_ANSWER,
            "With an id that begins with chatcmpl- the metadata of a stored completion changes. "
            "Any other text is the name of a conversation, in which the request is a turn.",
            path_texts={
                "completion_id": "The id of a stored completion, or the name of a conversation."
            },
            body=Body("ChangeOrChat", METADATA_BODY.example),
        ),
        Endpoint(
            "delete",
            "/v1/chat/completions/{completion_id}",
            "Delete a stored completion",
            Answer("What was deleted.", {JSON_TYPE: "DeletedCompletion"}),
            path_texts=COMPLETION_ID,
        ),
        Endpoint(
            "get",
            "/v1/chat/completions/{completion_id}/messages",
            "List the messages of a stored completion",
            Answer("A page of messages.", {JSON_TYPE: "StoredMessagePage"}),
            parameters=PAGE_PARAMETERS,
            path_texts=COMPLETION_ID,
        ),
    ),
)

RESPONSES = Subject(
    "Responses",
    "OpenAI's responses, with background work and conversations.",
    (
        Endpoint(
            "post",
            "/v1/responses",
            "Create a response",
            RESPONSE_ANSWER,
            parameters=(IDEMPOTENCY_KEY,),
            body=Body("ResponseBody", RESPONSE_EXAMPLE),
        ),
        Endpoint(
            "post",
            "/v1/responses/input_tokens",
            "Count the tokens of an input",
            Answer("The number of tokens.", {JSON_TYPE: "InputTokens"}),
            body=Body("TokenCountBody", RESPONSE_EXAMPLE),
        ),
        Endpoint(
            "post",
            "/v1/responses/compact",
            "Compact a conversation",
            Answer("The shorter conversation.", {JSON_TYPE: "CompactedResponse"}),
            body=Body("ResponseBody", RESPONSE_EXAMPLE),
        ),
        Endpoint(
            "get",
            "/v1/responses/{response_id}",
            "Get a response",
            RESPONSE_ANSWER,
            parameters=(
                Parameter("stream", "true: the events of a background response."),
                Parameter(
                    "starting_after",
                    "The number of the last event that is already known.",
                    {"type": "integer"},
                ),
            ),
            path_texts=RESPONSE_ID,
        ),
        Endpoint(
            "delete",
            "/v1/responses/{response_id}",
            "Delete a response",
            Answer("What was deleted.", {JSON_TYPE: "DeletedResponse"}),
            path_texts=RESPONSE_ID,
        ),
        Endpoint(
            "post",
            "/v1/responses/{response_id}/cancel",
            "Cancel a background response",
            RESPONSE_ANSWER,
            path_texts=RESPONSE_ID,
        ),
        Endpoint(
            "get",
            "/v1/responses/{response_id}/input_items",
            "List the input of a response",
            Answer("A page of items.", {JSON_TYPE: "ItemPage"}),
            parameters=(*PAGE_PARAMETERS, INCLUDE),
            path_texts=RESPONSE_ID,
        ),
    ),
)

OTHERS = Subject(
    "Models, embeddings and search",
    "The other endpoints of OpenAI, and a web search of our own.",
    (
        Endpoint(
            "get",
            "/v1/models",
            "List the models that the key may use",
            Answer("All models.", {JSON_TYPE: "ModelList"}),
        ),
        Endpoint(
            "get",
            "/v1/models/{model}",
            "Get a model",
            Answer("The model.", {JSON_TYPE: "Model"}),
            path_texts={"model": "The id of a model."},
        ),
        Endpoint(
            "post",
            "/v1/tokenize",
            "List or count the tokens of a text or a chat",
            Answer("The tokens, or their number.", {JSON_TYPE: "TokenList"}),
            "As vLLM has it; `/tokenize` is the same.",
            body=Body("TokenizeBody", {"model": "gpt-5", "prompt": "Hello there"}),
        ),
        Endpoint(
            "post",
            "/v1/detokenize",
            "Turn tokens into text",
            Answer("The text.", {JSON_TYPE: "TokenText"}),
            "As vLLM has it; `/detokenize` is the same.",
            body=Body("DetokenizeBody", {"model": "gpt-5", "tokens": [13225, 1354]}),
        ),
        Endpoint(
            "post",
            "/v1/completions",
            "Continue a text",
            Answer("The answer.", {JSON_TYPE: "Completion", EVENT_TYPE: ""}),
            body=Body("CompletionBody", {"model": "echo", "prompt": "Once upon a time"}),
        ),
        Endpoint(
            "post",
            "/v1/embeddings",
            "Compute vectors of texts",
            Answer("One vector for each text.", {JSON_TYPE: "Embeddings"}),
            body=Body("EmbeddingBody", {"model": "text-embedding-3-small", "input": "Hello"}),
        ),
        Endpoint(
            "post",
            "/v1/web_search",
            "Search the web",
            Answer("The results.", {JSON_TYPE: "SearchResults"}),
            "Works where the operator has set a search service; otherwise the answer is 501.",
            body=Body("SearchBody", {"query": "weather in Graz", "count": 5}),
        ),
    ),
)
