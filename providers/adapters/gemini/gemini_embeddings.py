"""Embeddings: OpenAI's body -> `batchEmbedContents`, and its vectors back. No I/O.

Source: Gemini's API reference, "Embeddings". The answer has no usage.
"""

from providers.exceptions import BadResponse, Rejected
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.request import ChatRequest
from providers.upstream.whole_answer import require_objects


def build_embed_body(body: FrozenJsonObject, model_path: str) -> JsonObject:
    """Return the body of `batchEmbedContents`. Raises Rejected for input that is no text."""
    texts = body["input"]
    if isinstance(texts, str):
        texts = [texts]
    if not all(isinstance(text, str) for text in texts):
        raise Rejected("Gemini embeds texts, not token numbers.", param="input")
    options = {}
    if body.get("dimensions") is not None:
        options["outputDimensionality"] = body["dimensions"]
    if body.get("task_type"):
        options["taskType"] = body["task_type"]
    requests = [
        {"model": model_path, "content": {"parts": [{"text": text}]}, **options} for text in texts
    ]
    return {"requests": requests}


def convert_vectors(request: ChatRequest, answer: JsonObject) -> JsonObject:
    """Return the answer as OpenAI's list of embeddings. Raises BadResponse."""
    vectors = [entry.get("values") for entry in require_objects(answer.get("embeddings"))]
    if not all(isinstance(vector, list) for vector in vectors):
        raise BadResponse("The upstream's vectors are not readable.")
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    return {"object": "list", "data": data, "model": request.model}
