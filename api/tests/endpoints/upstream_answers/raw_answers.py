"""Pieces of HTTP from which upstreams' answers are made."""

import json

from proxysite.testing import speech
from proxysite.testing.upstream import encode_response_head

WHOLE_BODY = json.dumps(speech.chat_completion()).encode()
JSON = {"content-type": "application/json"}
CHUNKED_HEAD = encode_response_head(200, JSON | {"transfer-encoding": "chunked"})


def encode_length_head(number):
    """Return the head of an answer of so many bytes."""
    return encode_response_head(200, JSON | {"content-length": str(number)})
