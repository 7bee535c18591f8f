"""Uploads of files, and messages that name them."""

from conversations.files import file_storage

NOTES = "Grüße aus Graz.\nThe answer is 42.\n".encode()


def list_disk_files():
    """Return the names of all files in the folder of files."""
    return sorted(path.name for path in file_storage.find_files_folder().iterdir())


async def upload_file(
    gateway, key, name="notes.txt", data=NOTES, purpose="user_data", content_type="text/plain"
):
    """Upload a file; return the answer."""
    form = {"purpose": purpose} if purpose is not None else {}
    return await gateway.send_request(
        "POST", "/v1/files", key, files={"file": (name, data, content_type)}, data=form
    )


async def store_file(gateway, key, *args, **kwargs):
    """Upload a file; return its id."""
    answer = await upload_file(gateway, key, *args, **kwargs)
    assert answer.status == 200, answer.body
    return answer.json["id"]


def ask_about(*parts):
    """Return the messages of a question with these parts."""
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


def file_by_id(file_id):
    """Return the part of a message that names a stored file."""
    return {"type": "file", "file": {"file_id": file_id}}
