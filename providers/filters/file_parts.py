"""File parts of a chat body, for upstreams that take files and for those that do not. No I/O.

The input (made by `conversations/files/file_storage.py`) is `{"type": "file", "file": {"filename",
"file_data"}, "text": …}`. `file_data` (a data URL) is there when a candidate takes files, `text`
when one does not, and `file_id` beside them when it is a stored file. The output is OpenAI's file
part without `text` and `file_id`, or a text part that names the file.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from providers.exceptions import Rejected
from providers.protocol.request import UpstreamModel

TEXT_FIELD = "text"  # our own field of a file part: the text of the file
FILE_ID_FIELD = "file_id"  # our own field of a file part: the id of the stored file


def find_file_parts(messages: Iterable[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every file part with its place, for example `messages[0].content[1]`."""
    for at, message in enumerate(messages):
        content = message.get("content")
        if isinstance(content, list):
            for position, part in enumerate(content):
                if part.get("type") == "file":
                    yield f"messages[{at}].content[{position}]", part


def rewrite_file_parts(body: dict[str, Any], model: UpstreamModel) -> dict[str, Any]:
    """Return the chat body with its file parts as `model` takes them. Raises Rejected.

    A body without file parts is returned itself.
    """
    if next(find_file_parts(body["messages"]), None) is None:
        return body
    return body | {
        "messages": [convert_message_files(message, model) for message in body["messages"]]
    }


def convert_message_files(message: dict[str, Any], model: UpstreamModel) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return message | {
        "content": [
            convert_file_part(part, model) if part["type"] == "file" else part for part in content
        ]
    }


def convert_file_part(part: dict[str, Any], model: UpstreamModel) -> dict[str, Any]:
    """Return one file part as the model takes it.

    Raises Rejected if the model takes no files and there is no text.
    """
    if model.files:
        return {
            name: value for name, value in part.items() if name not in (TEXT_FIELD, FILE_ID_FIELD)
        }
    text = part.get(TEXT_FIELD)
    if not isinstance(text, str):
        raise Rejected(
            f"The model {model.name!r} takes no files.",
            param="messages",
            code="unsupported_parameter",
        )
    name = part["file"].get("filename") or "file"
    return {"type": "text", "text": f"[File: {name}]\n{text}\n[End of the file {name}]"}


def has_file_parts(messages: Iterable[dict[str, Any]]) -> bool:
    """Return whether some message has a file."""
    return next(find_file_parts(messages), None) is not None


def copy_file_messages(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages, those with files as copies whose parts may be changed."""
    return [
        {**message, "content": [dict(part) for part in message["content"]]}
        if has_file_parts([message])
        else message
        for message in messages
    ]
