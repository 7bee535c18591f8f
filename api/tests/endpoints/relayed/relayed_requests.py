"""What tests of the relayed endpoints share: OpenAI's client, and forms as an upstream reads them.

Sources of the bodies: OpenAI's API reference, "Images", "Audio" and "Moderations".
"""

from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from openai import AsyncOpenAI

RECORDING = b"RIFF" + bytes(range(256)) * 8
DURATION_USAGE = {"type": "duration", "seconds": 9}
TOKEN_USAGE = {
    "type": "tokens",
    "input_tokens": 14,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
    "output_tokens": 5,
    "total_tokens": 19,
}


def open_client(gateway, person):
    """Return OpenAI's client of this person; use it as a context."""
    return AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=person.key, max_retries=0)


def read_form(request):
    """Return the parts of a form that an upstream got, as (name, file name, type, content)."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(EmailMessage, policy=policy.HTTP).parsebytes(head + request.body)
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_content_type() if part.get_filename() else None,
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    ]


async def send_form(gateway, person, path="/v1/audio/transcriptions", files=None, **fields):
    """Send a form with a recording, or with these files; a field that is None is left out."""
    values = {"model": "m"} | fields
    return await gateway.send_request(
        "POST",
        path,
        person.key,
        data={name: value for name, value in values.items() if value is not None},
        files=files or {"file": ("a.mp3", RECORDING, "audio/mpeg")},
    )
