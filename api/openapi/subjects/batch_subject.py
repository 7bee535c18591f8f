"""The endpoints of batches."""

from api.openapi.endpoint import JSON_TYPE, Answer, Body, Endpoint, Subject
from api.openapi.subjects.page_parameters import PAGE_PARAMETERS

BATCH_ID = {"batch_id": "The id of a batch, batch_…"}
ONE_BATCH = Answer("The batch, as it is now.", {JSON_TYPE: "Batch"})
NEW_BATCH = {
    "input_file_id": "file-abc",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
}

BATCHES = Subject(
    "Batches",
    "OpenAI's batches: the lines of a file are requests, answered in the background for any "
    "upstream.",
    (
        Endpoint(
            "post",
            "/v1/batches",
            "Create a batch",
            ONE_BATCH,
            "Each line of the file is {custom_id, method, url, body}. The lines have the rights, "
            "limits and budgets of the key.",
            body=Body("NewBatch", NEW_BATCH),
        ),
        Endpoint(
            "get",
            "/v1/batches",
            "List your batches",
            Answer("A page of batches.", {JSON_TYPE: "BatchPage"}),
            parameters=PAGE_PARAMETERS,
        ),
        Endpoint("get", "/v1/batches/{batch_id}", "Get a batch", ONE_BATCH, path_texts=BATCH_ID),
        Endpoint(
            "post",
            "/v1/batches/{batch_id}/cancel",
            "Cancel a batch",
            ONE_BATCH,
            "Lines that have not begun are not asked; the files have what was answered.",
            path_texts=BATCH_ID,
        ),
    ),
)
