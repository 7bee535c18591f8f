"""Encrypt an export with a passphrase, and open it again.

A bundle is a text. Its first line is JSON: `format`, `version`, and how the key is made of the
passphrase (scrypt with `n`, `r`, `p` and `salt`). Each further line is base64 of a nonce of 12
bytes and a text encrypted with AES-256-GCM. The first line, the number of the piece (from 0) and a
sign are authenticated with it: `+` when pieces follow, `.` for the last one. So no piece can be
left out, exchanged or appended without notice. The pieces together are JSON lines.
"""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from django.utils.translation import gettext as _

FORMAT = "proxysite-tokens"
VERSION = 1
CIPHER = "AES-256-GCM"
SCRYPT_N = 2**15  # with r = 8 it takes 32 MiB and a tenth of a second
SCRYPT_R = 8
SCRYPT_P = 1
KEY_BYTES = 32
SALT_BYTES = 16
NONCE_BYTES = 12
MAX_HEADER_CHARS = 1_000
MIN_PASSPHRASE_CHARS = 12
NEXT = b"+"
LAST = b"."


class BundleError(Exception):
    """A bundle that cannot be opened; the message says why to a person."""


def encrypt_bundle(pieces: Iterable[str], passphrase: str) -> Iterator[str]:
    """Yield the lines of a bundle with these pieces of text."""
    salt = os.urandom(SALT_BYTES)
    header = write_header(salt)
    cipher = AESGCM(derive_key(passphrase, salt))
    yield f"{header}\n"
    number = 0
    waiting = ""
    for number, piece in enumerate(pieces):
        if number:
            yield encrypt_piece(cipher, header, number - 1, NEXT, waiting)
        waiting = piece
    yield encrypt_piece(cipher, header, number, LAST, waiting)


def write_header(salt: bytes) -> str:
    """Return the first line, without its end."""
    return json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "cipher": CIPHER,
            "kdf": "scrypt",
            "n": SCRYPT_N,
            "r": SCRYPT_R,
            "p": SCRYPT_P,
            "salt": b64encode(salt).decode(),
        }
    )


def encrypt_piece(cipher: AESGCM, header: str, number: int, sign: bytes, text: str) -> str:
    """Return the line of a piece of text, with its end."""
    nonce = os.urandom(NONCE_BYTES)
    sealed = cipher.encrypt(nonce, text.encode(), describe_piece(header, number, sign))
    return f"{b64encode(nonce + sealed).decode()}\n"


def describe_piece(header: str, number: int, sign: bytes) -> bytes:
    """Return the bytes that are authenticated with a piece."""
    return b"%s\n%d%s" % (header.encode(), number, sign)


def derive_key(passphrase: str, salt: bytes) -> bytes:
    """Return the key of a passphrase; it takes a tenth of a second of a core."""
    kdf = Scrypt(salt=salt, length=KEY_BYTES, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)
    return kdf.derive(passphrase.encode())


# --- open it --------------------------------------------------------------------------------------
def is_bundle(lines: list[str]) -> bool:
    """Return whether the lines are those of a bundle."""
    return bool(lines) and read_header(lines[0]) is not None


def read_header(line: str) -> dict[str, object] | None:
    """Return the fields of the first line; None if it is not the first line of a bundle."""
    if len(line) > MAX_HEADER_CHARS or FORMAT not in line:
        return None
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return header if isinstance(header, dict) and header.get("format") == FORMAT else None


def decrypt_bundle(lines: list[str], passphrase: str) -> str:
    """Return the text of a bundle. Raises BundleError."""
    if not passphrase:
        raise BundleError(_("This is an encrypted export: its passphrase is needed."))
    header = lines[0].strip()
    cipher = AESGCM(derive_key(passphrase, read_salt(read_header(header) or {})))
    pieces = [line.strip() for line in lines[1:] if line.strip()]
    if not pieces:
        raise BundleError(_("The encrypted export is cut off."))
    texts = []
    for number, piece in enumerate(pieces):
        sign = LAST if number == len(pieces) - 1 else NEXT
        texts.append(decrypt_piece(cipher, piece, describe_piece(header, number, sign)))
    return "".join(texts)


def read_salt(header: dict[str, object]) -> bytes:
    """Return the salt. Raises BundleError on other ways to make a key, which might never end."""
    costs = [header.get(name) for name in ("version", "cipher", "kdf", "n", "r", "p")]
    if costs != [VERSION, CIPHER, "scrypt", SCRYPT_N, SCRYPT_R, SCRYPT_P]:
        raise BundleError(_("The encrypted export is of a form that this release cannot open."))
    try:
        return b64decode(str(header.get("salt")), validate=True)
    except ValueError:
        raise BundleError(_("The encrypted export was changed.")) from None


def decrypt_piece(cipher: AESGCM, line: str, description: bytes) -> str:
    """Return the text of one line. Raises BundleError."""
    try:
        sealed = b64decode(line, validate=True)
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], description).decode()
    except (InvalidTag, ValueError):
        raise BundleError(
            _("The passphrase is wrong, or the encrypted export was changed or cut off.")
        ) from None
