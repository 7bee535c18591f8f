"""The endpoints of images, audio, moderations and rerank."""

from api.openapi.endpoint import EVENT_TYPE, JSON_TYPE, Answer, Body, Endpoint, Subject

FORM_TYPE = "multipart/form-data"
IMAGES = Answer("The images, or their addresses.", {JSON_TYPE: "Images", EVENT_TYPE: ""})
TRANSCRIPT = Answer(
    "The text, in the form that response_format names.",
    {JSON_TYPE: "Transcript", "text/plain": "", "text/vtt": "", EVENT_TYPE: ""},
)
RANKING = Answer("The documents' places, the best first.", {JSON_TYPE: "Ranking"})
RANKING_BODY = Body(
    "RerankBody",
    {
        "model": "rerank-v4.0-pro",
        "query": "What is the capital of Styria?",
        "documents": ["Linz is in Upper Austria.", "Graz is the capital of Styria."],
        "top_n": 1,
    },
)
RECORDING = {"model": "whisper-1", "file": "speech.mp3"}

RELAYED = Subject(
    "Images, audio, moderations and rerank",
    "OpenAI's endpoints, and rerank in the form of Cohere, Jina and vLLM. The body goes to the "
    "model's provider as it is, with the provider's name of the model.",
    (
        Endpoint(
            "post",
            "/v1/images/generations",
            "Make images",
            IMAGES,
            body=Body("ImageBody", {"model": "gpt-image-1", "prompt": "A cat with a hat"}),
        ),
        Endpoint(
            "post",
            "/v1/images/edits",
            "Edit images",
            IMAGES,
            "The body may also be JSON, with the images by their ids or addresses.",
            body=Body(
                "ImageForm",
                {"model": "gpt-image-1", "prompt": "Add a hat", "image": "cat.png"},
                FORM_TYPE,
            ),
        ),
        Endpoint(
            "post",
            "/v1/images/variations",
            "Make variations of an image",
            IMAGES,
            body=Body("ImageForm", {"model": "dall-e-2", "image": "cat.png"}, FORM_TYPE),
        ),
        Endpoint(
            "post",
            "/v1/audio/speech",
            "Read a text aloud",
            Answer(
                "The audio while it comes; with stream_format=sse its events.",
                {"audio/mpeg": "", "audio/wav": "", "application/octet-stream": "", EVENT_TYPE: ""},
            ),
            body=Body("SpeechBody", {"model": "tts-1", "input": "Hello!", "voice": "alloy"}),
        ),
        Endpoint(
            "post",
            "/v1/audio/transcriptions",
            "Write down what a recording says",
            TRANSCRIPT,
            body=Body("AudioForm", RECORDING, FORM_TYPE),
        ),
        Endpoint(
            "post",
            "/v1/audio/translations",
            "Translate a recording into English",
            TRANSCRIPT,
            body=Body("AudioForm", RECORDING, FORM_TYPE),
        ),
        Endpoint(
            "post",
            "/v1/moderations",
            "Judge texts and images",
            Answer("A judgement for each input.", {JSON_TYPE: "Moderation"}),
            "Without a model it is omni-moderation-latest.",
            body=Body("ModerationBody", {"model": "omni-moderation-latest", "input": "Hello"}),
        ),
        *(
            Endpoint("post", path, "Rank documents by a question", RANKING, text, body=RANKING_BODY)
            for path, text in (
                ("/v1/rerank", ""),
                ("/v2/rerank", "The same as /v1/rerank, at Cohere's address."),
                ("/rerank", "The same as /v1/rerank, for base URLs without a version."),
            )
        ),
    ),
)
