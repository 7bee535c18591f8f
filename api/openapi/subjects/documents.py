"""The endpoints of files."""

from api.openapi.endpoint import JSON_TYPE, Answer, Body, Endpoint, Parameter, Subject
from api.openapi.subjects.page_parameters import PAGE_PARAMETERS

FILE_ID = {"file_id": "The id of a file, file-…"}
ONE_FILE = Answer("The file's facts.", {JSON_TYPE: "File"})
FILE_STATUS = Answer("How far it is.", {JSON_TYPE: "FileStatus"})
UPLOAD_ID = {"upload_id": "The id of an upload, upload_…"}
ONE_UPLOAD = Answer("The upload's facts.", {JSON_TYPE: "PartedUpload"})
NEW_UPLOAD = {
    "filename": "book.pdf",
    "mime_type": "application/pdf",
    "purpose": "user_data",
    "bytes": 104_857_600,
}
UPLOAD = Body("Upload", {"purpose": "user_data", "file": "notes.txt"}, "multipart/form-data")

FILES = Subject(
    "Files",
    "OpenAI's files. Long documents are processed in the background, in OpenKimi's form.",
    (
        Endpoint("post", "/v1/files", "Upload a file", ONE_FILE, body=UPLOAD),
        Endpoint(
            "get",
            "/v1/files",
            "List your files",
            Answer("A page of files.", {JSON_TYPE: "FilePage"}),
            parameters=(*PAGE_PARAMETERS, Parameter("purpose", "Only files of this purpose.")),
        ),
        Endpoint(
            "post",
            "/v1/files/upload",
            "Upload a document",
            FILE_STATUS,
            body=Body("Upload", {"file": "book.pdf"}, "multipart/form-data"),
        ),
        Endpoint(
            "post",
            "/v1/files/ingest",
            "Process an uploaded document",
            FILE_STATUS,
            body=Body("IngestBody", {"file_id": "file-abc"}),
        ),
        Endpoint(
            "get",
            "/v1/files/{file_id}/status",
            "Ask how far a document is processed",
            FILE_STATUS,
            path_texts=FILE_ID,
        ),
        Endpoint("get", "/v1/files/{file_id}", "Get a file's facts", ONE_FILE, path_texts=FILE_ID),
        Endpoint(
            "delete",
            "/v1/files/{file_id}",
            "Delete a file",
            Answer("What was deleted.", {JSON_TYPE: "DeletedFile"}),
            path_texts=FILE_ID,
        ),
        Endpoint(
            "get",
            "/v1/files/{file_id}/content",
            "Download a file",
            Answer("The bytes of the file.", {"application/octet-stream": ""}),
            path_texts=FILE_ID,
        ),
        Endpoint(
            "post",
            "/v1/uploads",
            "Begin to upload a file in parts",
            ONE_UPLOAD,
            body=Body("NewUpload", NEW_UPLOAD),
        ),
        Endpoint(
            "post",
            "/v1/uploads/{upload_id}/parts",
            "Upload a part",
            Answer("The part's facts.", {JSON_TYPE: "UploadPart"}),
            path_texts=UPLOAD_ID,
            body=Body("UploadPartForm", {"data": "the bytes"}, "multipart/form-data"),
        ),
        Endpoint(
            "post",
            "/v1/uploads/{upload_id}/complete",
            "Make a file of the parts",
            ONE_UPLOAD,
            path_texts=UPLOAD_ID,
            body=Body("UploadCompletion", {"part_ids": ["part_abc", "part_def"]}),
        ),
        Endpoint(
            "post",
            "/v1/uploads/{upload_id}/cancel",
            "Give an upload up",
            ONE_UPLOAD,
            path_texts=UPLOAD_ID,
        ),
    ),
)
