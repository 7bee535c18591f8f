"""Texts that clients keep for the gateway without reading them, as `encrypted_content`.

Nothing is secret in them: it is the text in base64, behind a mark by which ours is recognised.
Content that another service has encrypted cannot be read here.
"""

import base64
import binascii

OWN_PREFIX = "proxysite."


def encode_opaque_text(text: str) -> str:
    return OWN_PREFIX + base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")


def is_own_opaque_text(content: object) -> bool:
    """Return whether the content has our mark; it may be damaged all the same."""
    return isinstance(content, str) and content.startswith(OWN_PREFIX)


def decode_opaque_text(content: object) -> str:
    """Return the text of our own content; empty when it is damaged, or of another service."""
    if not isinstance(content, str) or not content.startswith(OWN_PREFIX):
        return ""
    try:
        text = base64.b64decode(content.removeprefix(OWN_PREFIX), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text.replace("\0", "")
