"""File parts of a chat body, for upstreams that take files and for those that do not. No I/O.

The input (made by `conversations/files/attachments.py`) is `{"type": "file", "file": {"filename",
"file_data"}, "text": …}`. `file_data` (a data URL) is there when a candidate takes files, `text`
when one does not, and `file_id` beside them when it is a stored file. The output is OpenAI's file
part without `text` and `file_id`, or a text part that names the file. `read_file_fields` reads the
parts of callers.
"""

from collections.abc import Iterable, Iterator

from providers.exceptions import Rejected
from providers.protocol.json_types import JsonObject
from providers.protocol.request import UpstreamModel

TEXT_FIELD = "text"  # our own field of a file part: the text of the file
FILE_ID_FIELD = "file_id"  # our own field of a file part: the id of the stored file


def find_file_parts(messages: Iterable[JsonObject]) -> Iterator[tuple[str, JsonObject]]:
    """Yield every file part with its place, for example `messages[0].content[1]`."""
    for message_index, message in enumerate(messages):
        content = message.get("content")
        if not isinstance(content, list):
            continue
        for part_index, part in enumerate(content):
            if part.get("type") == "file":
                yield f"messages[{message_index}].content[{part_index}]", part


def read_file_fields(part: JsonObject) -> JsonObject:
    """Return the fields of a file part: OpenAI's, or those for kimi-free-api's `file_url`.

    That is `{"type": "file", "file_url": {"url": …}}`, with a URL or a data URL.
    """
    if part.get("file") is not None:
        fields: JsonObject = part["file"]
        return fields
    url = part.get("file_url")
    if isinstance(url, dict):
        url = url.get("url")
    if isinstance(url, str) and url.startswith("data:"):
        return {"file_data": url}
    return {"file_url": url}


def rewrite_file_parts(body: JsonObject, model: UpstreamModel) -> JsonObject:
    """Return the chat body with its file parts as `model` takes them. Raises Rejected.

    A body without file parts is returned itself.
    """
    if not has_file_parts(body["messages"]):
        return body
    return body | {
        "messages": [convert_message_files(message, model) for message in body["messages"]]
    }


def convert_message_files(message: JsonObject, model: UpstreamModel) -> JsonObject:
    """Return a message with its file parts as the model takes them."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return message | {"content": [convert_part(part, model) for part in content]}


def convert_part(part: JsonObject, model: UpstreamModel) -> JsonObject:
    """Return a part as the model takes it; only file parts change.

    Raises Rejected if the model takes no files and there is no text.
    """
    if part["type"] != "file":
        return part
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


def has_file_parts(messages: Iterable[JsonObject]) -> bool:
    """Return whether some message has a file."""
    for message in messages:
        if isinstance(message.get("content"), list) and next(find_file_parts([message]), None):
            return True
    return False


def copy_file_messages(messages: Iterable[JsonObject]) -> list[JsonObject]:
    """Return the messages, those with files as copies whose parts may be changed."""
    return [
        {**message, "content": [dict(part) for part in message["content"]]}
        if has_file_parts([message])
        else message
        for message in messages
    ]
